"""Microns per pixel as files say them."""

import numpy as np
import pytest
import tifffile
from medical.slide_files import area_mean, blocks, write_ome, write_philips, write_plain, write_svs

from segkit.medical.slide import slide_of

PIXELS = blocks(64, 128)
LEVELS = [PIXELS, area_mean(PIXELS, 2)]


def said(path):
    slide = slide_of(path)
    return slide.levels[0].mpp, slide.said_by


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({"PhysicalSizeX": 0.25, "PhysicalSizeY": 0.5}, (0.5, 0.25)),
        (
            {"PhysicalSizeX": 250, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 0.0005, "PhysicalSizeYUnit": "mm"},
            (0.5, 0.25),
        ),
        ({"PhysicalSizeX": 0.25, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": 0.25}, (0.25, 0.25)),
    ],
)
def test_ome_says_it_in_its_units(metadata, expected, tmp_path):
    write_ome(tmp_path / "a.ome.tif", LEVELS, **metadata)
    found, who = said(tmp_path / "a.ome.tif")
    assert found == pytest.approx(expected)
    assert who == "OME-XML"


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"PhysicalSizeX": 0.25},
        {"PhysicalSizeX": 0.0, "PhysicalSizeY": 0.25},
        {"PhysicalSizeX": -1, "PhysicalSizeY": -1},
        {"PhysicalSizeX": 0.25, "PhysicalSizeXUnit": "pixel", "PhysicalSizeY": 0.25, "PhysicalSizeYUnit": "pixel"},
    ],
)
def test_what_ome_leaves_open_stays_unknown(metadata, tmp_path):
    write_ome(tmp_path / "a.ome.tif", LEVELS, **metadata)
    assert said(tmp_path / "a.ome.tif") == (None, None)


@pytest.mark.parametrize(("text", "expected"), [("0.2527", 0.2527), ("0,5031", 0.5031), ("5e-1", 0.5)])
def test_aperio_says_it_in_its_description(text, expected, tmp_path):
    write_svs(tmp_path / "a.svs", LEVELS, mpp=text)
    assert said(tmp_path / "a.svs") == ((expected, expected), "Aperio's description")


@pytest.mark.parametrize("text", [None, "0", "-0.25", "1e999", "e", "0.25.1"])
def test_what_aperio_leaves_out_or_garbles_stays_unknown(text, tmp_path):
    write_svs(tmp_path / "a.svs", LEVELS, mpp=text)
    assert said(tmp_path / "a.svs") == (None, None)


def test_philips_says_it_in_millimetres(tmp_path, monkeypatch):
    write_philips(tmp_path / "a.tiff", LEVELS, monkeypatch, spacing="0.00025")
    found, who = said(tmp_path / "a.tiff")
    assert found == pytest.approx((0.25, 0.25))
    assert who == "Philips' description"


@pytest.mark.parametrize(("unit", "scale"), [("micron", 1), ("um", 1), ("nanometer", 1e-3), ("millimeter", 1e3)])
def test_imagej_says_its_unit(unit, scale, tmp_path):
    grey = PIXELS[..., 0]
    tifffile.imwrite(tmp_path / "a.tif", grey, imagej=True, resolution=(4, 2), metadata={"unit": unit})
    found, who = said(tmp_path / "a.tif")
    assert found == pytest.approx((0.5 * scale, 0.25 * scale))
    assert who == "ImageJ's description"


def test_inches_of_imagej_are_those_of_the_tags(tmp_path):
    for dots, expected in ((72, None), (25_400 * 2, 0.5)):
        options = {"resolution": (dots, dots), "resolutionunit": "INCH", "metadata": {"unit": "inch"}}
        tifffile.imwrite(tmp_path / f"{dots}.tif", PIXELS[..., 0], imagej=True, **options)
        assert said(tmp_path / f"{dots}.tif") == (expected and (expected, expected), expected and "its tags")


@pytest.mark.parametrize("unit", ["CENTIMETER", "INCH"])
def test_tags_say_it_for_each_axis(unit, tmp_path):
    write_plain(tmp_path / "a.tif", LEVELS, mpp=(0.5, 0.25), unit=unit)
    found, who = said(tmp_path / "a.tif")
    assert found == pytest.approx((0.5, 0.25), rel=1e-6)
    assert who == "its tags"


@pytest.mark.parametrize(
    ("microns", "known"), [(9.9, True), (10.1, False), (25_400 / 300, False), (25_400 / 72, False)]
)
def test_the_scale_of_a_print_is_none(microns, known, tmp_path):
    write_plain(tmp_path / "a.tif", LEVELS, mpp=(microns, microns), unit="INCH")
    assert (said(tmp_path / "a.tif")[0] is not None) == known


def test_tags_without_a_unit_or_without_a_number_say_nothing(tmp_path):
    write_plain(tmp_path / "a.tif", LEVELS, mpp=(0.5, 0.5), unit="NONE")
    assert said(tmp_path / "a.tif") == (None, None)
    write_plain(tmp_path / "b.tif", LEVELS, mpp=(0.5, 0.5))
    assert said(tmp_path / "b.tif")[0] is not None
    with tifffile.TiffFile(tmp_path / "b.tif") as file:
        begin = file.pages.first.tags[282].valueoffset
    data = (tmp_path / "b.tif").read_bytes()
    (tmp_path / "b.tif").write_bytes(data[:begin] + bytes(4) + data[begin + 4 :])  # 0 pixels a centimetre
    assert said(tmp_path / "b.tif") == (None, None)


def test_coarser_levels_follow_from_their_sizes(tmp_path):
    pixels = np.zeros((66, 130, 3), np.uint8)
    write_plain(tmp_path / "a.tif", [pixels, pixels[:33, :65], pixels[:16, :32]], mpp=(0.5, 0.25))
    levels = slide_of(tmp_path / "a.tif").levels
    assert [(level.height, level.width) for level in levels] == [(66, 130), (33, 65), (16, 32)]
    assert [level.mpp for level in levels] == [
        pytest.approx(mpp) for mpp in ((0.5, 0.25), (1, 0.5), (0.5 * 66 / 16, 0.25 * 130 / 32))
    ]


def test_a_turned_picture_exchanges_its_axes(tmp_path):
    write_plain(tmp_path / "a.tif", [PIXELS], mpp=(0.5, 0.25), extratags=[(274, 3, 1, 6, False)])
    (level,) = slide_of(tmp_path / "a.tif").levels
    assert (level.height, level.width) == (128, 64)
    assert level.mpp == pytest.approx((0.25, 0.5))
