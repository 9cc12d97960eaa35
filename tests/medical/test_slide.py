"""Slides: which picture of the file, which of its levels, and the pixels of it."""

import io

import numpy as np
import pytest
import tifffile
from medical.slide_files import (
    area_mean,
    blocks,
    in_ycbcr,
    jpeg,
    jpeg2000,
    pyramid,
    smooth,
    tiles_of,
    write_coded,
    write_ndpi,
    write_ome,
    write_philips,
    write_plain,
    write_svs,
)
from PIL import Image

from segkit.data import picture, tiff_rows
from segkit.data.picture import open_picture
from segkit.data.reader import Reader, read_pixels
from segkit.data.tiff_rows import ChannelRows, TiffRows
from segkit.errors import DataError, UsageError
from segkit.medical.slide import open_slide, slide_of, without_resolution

PIXELS = blocks(192, 256)
LEVELS = pyramid(PIXELS, 3)  # at 0.25, 0.5 and 1 micron


@pytest.fixture
def in_parts(monkeypatch):
    """Whatever can be is read in parts, some rows of tiles at a time."""
    monkeypatch.setattr(picture, "AT_ONCE", 0)
    monkeypatch.setattr(tiff_rows, "AT_ONCE", 64 * 256 * 3)


def rows_of(opened):
    return opened.rows(0, opened.shape[0])


def write(kind, path, levels=LEVELS, monkeypatch=None):
    """A slide with a full resolution of 0.25 microns."""
    if kind == "svs":
        write_svs(path, levels)
    elif kind == "ome":
        write_ome(path, levels, PhysicalSizeX=0.25, PhysicalSizeY=0.25)
    elif kind == "ome behind its label":
        write_ome(path, levels, label=True, PhysicalSizeX=0.25, PhysicalSizeY=0.25)
    else:
        write_plain(path, levels, mpp=(0.25, 0.25), compression="deflate")


KINDS = ["svs", "ome", "ome behind its label", "plain"]


@pytest.mark.parametrize("kind", KINDS)
def test_levels_are_those_of_the_slide_alone(kind, tmp_path):
    """Not the thumbnail, label and macro, which are smaller than levels, or lie before them."""
    write(kind, tmp_path / "a.tif")
    slide = slide_of(tmp_path / "a.tif")
    assert [(level.height, level.width) for level in slide.levels] == [(192, 256), (96, 128), (48, 64)]
    assert [level.mpp for level in slide.levels] == [pytest.approx((mpp, mpp)) for mpp in (0.25, 0.5, 1)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("wanted", "level", "shape"),
    [
        (None, 0, (192, 256)),
        (0.2, 0, (240, 320)),  # even the finest is coarser: enlarged
        (0.25, 0, (192, 256)),
        (0.3, 0, (160, 213)),
        (0.479, 1, (96, 128)),  # coarser by less than 5 %: taken as it is
        (0.47, 0, (102, 136)),
        (0.5, 1, (96, 128)),
        (0.75, 1, (64, 85)),
        (0.96, 2, (48, 64)),
        (4.0, 2, (12, 16)),
    ],
)
def test_the_coarsest_level_that_is_as_fine_is_read(kind, wanted, level, shape, tmp_path, monkeypatch):
    write(kind, tmp_path / "a.tif")
    read = []
    original = tiff_rows.TiffRows._part
    monkeypatch.setattr(TiffRows, "_part", lambda self, *rows: read.append(self.width) or original(self, *rows))
    opened = open_picture(tmp_path / "a.tif", mpp=wanted)
    found = rows_of(opened)
    assert found.shape == (*shape, 3)
    assert set(read) == ({LEVELS[level].shape[1]} if level else set())  # so small a picture is decoded at once
    if found.shape == LEVELS[level].shape:
        np.testing.assert_array_equal(found, LEVELS[level])
    if wanted == 4.0:
        np.testing.assert_array_equal(found, area_mean(LEVELS[2], 4))
    if wanted is not None:
        assert opened.mpp == pytest.approx((wanted, wanted), rel=0.06)
        # The same area, whatever the resolution.
        assert opened.mpp == pytest.approx((192 * 0.25 / shape[0], 256 * 0.25 / shape[1]))


@pytest.mark.parametrize("kind", KINDS)
def test_parts_are_parts_of_the_whole(kind, tmp_path, in_parts):
    write(kind, tmp_path / "a.tif")
    np.testing.assert_array_equal(read_pixels(tmp_path / "a.tif"), PIXELS)
    for wanted, level in ((None, 0), (0.5, 1), (1.0, 2)):
        opened = open_picture(tmp_path / "a.tif", mpp=wanted)
        assert isinstance(opened._pixels, TiffRows)
        np.testing.assert_array_equal(rows_of(opened), LEVELS[level])
    opened = open_picture(tmp_path / "a.tif", mpp=0.75)
    whole = rows_of(opened)
    for top, bottom in ((0, 1), (3, 40), (63, 64)):
        np.testing.assert_array_equal(opened.rows(top, bottom), whole[top:bottom])


def test_reading_on_decodes_nothing_twice(tmp_path, in_parts, monkeypatch):
    write_plain(tmp_path / "a.tif", [PIXELS])
    decoded = []
    original = TiffRows._decoded
    monkeypatch.setattr(TiffRows, "_decoded", lambda self, *rows: decoded.append(rows) or original(self, *rows))
    opened = open_picture(tmp_path / "a.tif")
    found = np.concatenate([opened.rows(top, top + 16) for top in range(0, 192, 16)])
    np.testing.assert_array_equal(found, PIXELS)
    assert decoded == [(0, 1), (1, 2), (2, 3)]
    np.testing.assert_array_equal(opened.rows(10, 150), PIXELS[10:150])


def test_a_stated_resolution_counts_more_than_the_files(tmp_path):
    write_svs(tmp_path / "a.svs", LEVELS)
    opened = open_picture(tmp_path / "a.svs", mpp=1.0, own=0.5)
    np.testing.assert_array_equal(rows_of(opened), LEVELS[1])
    assert opened.mpp == (1.0, 1.0)
    assert open_picture(tmp_path / "a.svs", own=0.5).mpp == (0.5, 0.5)


def test_without_a_resolution_the_finest_is_taken_with_a_note(tmp_path):
    write_svs(tmp_path / "a.svs", LEVELS, mpp=None)
    opened = open_picture(tmp_path / "a.svs", mpp=1.0)
    np.testing.assert_array_equal(rows_of(opened), PIXELS)
    assert opened.mpp is None
    assert opened.notes == ("no resolution in the file: taken as it is, for 1 microns per pixel",)
    opened = open_picture(tmp_path / "a.svs", mpp=1.0, own=0.25)
    np.testing.assert_array_equal(rows_of(opened), LEVELS[2])
    assert opened.notes == ()


def test_other_pictures_are_resampled_by_what_is_stated(tmp_path):
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    np.testing.assert_array_equal(rows_of(open_picture(tmp_path / "a.png", mpp=1.0, own=0.25)), LEVELS[2])
    assert open_picture(tmp_path / "a.png", own=0.25).mpp == (0.25, 0.25)
    assert len(open_picture(tmp_path / "a.png", mpp=1.0).notes) == 1


@pytest.mark.parametrize("mpp", [0, -0.5, float("nan"), float("inf"), "0.5", True])
@pytest.mark.parametrize("key", ["mpp", "own"])
def test_a_resolution_is_a_positive_number(key, mpp, tmp_path):
    write_svs(tmp_path / "a.svs", LEVELS)
    with pytest.raises(UsageError, match=r"mpp=.*: expected microns per pixel, above 0"):
        open_picture(tmp_path / "a.svs", **{key: mpp})


def test_what_is_no_slide(tmp_path):
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    tifffile.imwrite(tmp_path / "stack.tif", np.zeros((4, 60, 50), np.uint8), photometric="minisblack")
    z = {"axes": "ZCYX"}
    tifffile.imwrite(tmp_path / "z.ome.tif", np.zeros((2, 3, 60, 50), np.uint8), photometric="minisblack", metadata=z)
    (tmp_path / "empty.tif").write_bytes(b"")
    (tmp_path / "short.tif").write_bytes(b"II*\0\x08\0\0\0")
    for name in ("a.png", "stack.tif", "z.ome.tif", "empty.tif", "short.tif", "absent.tif"):
        assert slide_of(tmp_path / name) is None
        assert open_slide(tmp_path / name, mpp=None) is None
    tifffile.imwrite(tmp_path / "one.tif", PIXELS, photometric="rgb")
    write_svs(tmp_path / "a.svs", LEVELS)
    assert len(slide_of(tmp_path / "one.tif").levels) == 1
    assert without_resolution([tmp_path / name for name in ("a.png", "one.tif", "a.svs")]) == 2


def test_focal_planes_and_further_pictures_are_refused(tmp_path):
    options = {"photometric": "rgb", "tile": (64, 64), "metadata": None, "software": False}
    with tifffile.TiffWriter(tmp_path / "a.svs") as file:
        file.write(PIXELS, description="Aperio |MPP = 0.25", **options)
        file.write(LEVELS[2], **options)
        file.write(PIXELS, description="Aperio", **options)
    with pytest.raises(DataError, match=r"a\.svs: .*it is a stack of shape 2×192×256×3; one picture is expected"):
        open_picture(tmp_path / "a.svs", mpp=0.5)
    with tifffile.TiffWriter(tmp_path / "b.ome.tif") as file:
        file.write(PIXELS, photometric="rgb", metadata={"Name": "first"})
        file.write(LEVELS[1], photometric="rgb", metadata={"Name": "second"})
    with pytest.raises(
        DataError, match=r"b\.ome\.tif: .*it holds 2 pictures of different kinds; one picture is expected"
    ):
        open_picture(tmp_path / "b.ome.tif", mpp=0.5)


def test_damage_in_a_level_is_found_where_it_is(tmp_path, in_parts):
    write_svs(tmp_path / "a.svs", LEVELS)
    with tifffile.TiffFile(tmp_path / "a.svs") as file:
        page = file.series[0].levels[1].keyframe
        start, length = page.dataoffsets[-1], page.databytecounts[-1]
    data = (tmp_path / "a.svs").read_bytes()
    (tmp_path / "a.svs").write_bytes(data[:start] + bytes(length) + data[start + length :])
    opened = open_picture(tmp_path / "a.svs", mpp=0.5)
    np.testing.assert_array_equal(opened.rows(0, 64), LEVELS[1][:64])
    with pytest.raises(DataError, match=r"a\.svs: can't be decoded as a picture \("):
        opened.rows(64, 96)
    np.testing.assert_array_equal(rows_of(open_picture(tmp_path / "a.svs")), PIXELS)


def test_a_level_that_claims_too_much_or_is_cut_short(tmp_path, in_parts):
    write_svs(tmp_path / "a.svs", LEVELS)
    with pytest.raises(DataError, match=r"a\.svs: 192 × 256 pixels take .* GiB to decode at once, more than the limit"):
        open_picture(tmp_path / "a.svs", mpp=0.5, limit=1000)
    with pytest.raises(DataError, match=r"a\.svs: 96 × 128 pixels take .* GiB, more than the limit"):
        open_picture(tmp_path / "a.svs", mpp=0.5).whole(limit=1000)
    write_plain(tmp_path / "b.tif", LEVELS, mpp=(0.25, 0.25))
    data = (tmp_path / "b.tif").read_bytes()
    with tifffile.TiffFile(tmp_path / "b.tif") as file:
        end = file.series[0].levels[2].keyframe.dataoffsets[0]
    (tmp_path / "b.tif").write_bytes(data[: end + 100])
    with pytest.raises(DataError, match=r"b\.tif: "):
        open_picture(tmp_path / "b.tif", mpp=1.0)


def test_jpeg_tiles_of_a_level(tmp_path, in_parts, monkeypatch):
    """In RGB, as Aperio writes them, and in YCbCr with fewer colours: what Pillow says of each tile by itself."""
    pixels = smooth(192, 256)
    for name, photometric, encode, subsampling in (
        ("rgb", "rgb", lambda tile: jpeg(tile, keep_rgb=True), (1, 1)),
        ("ycbcr", "ycbcr", lambda tile: jpeg(tile, subsampling="4:2:0"), (2, 2)),
    ):
        tiles = tiles_of(pixels, encode)
        options = {"compressionargs": {"outcolorspace": "rgb"}} if name == "rgb" else {}
        path = tmp_path / f"{name}.tif"
        how = {"photometric": photometric, "subsampling": subsampling, **options}
        write_coded(path, pixels, tiles, monkeypatch, compression="JPEG", **how)
        expected = np.empty_like(pixels)
        for number, tile in enumerate(tiles):
            top, left = number // 4 * 64, number % 4 * 64
            expected[top : top + 64, left : left + 64] = np.asarray(Image.open(io.BytesIO(tile)))
        opened = open_picture(path)
        assert isinstance(opened._pixels, TiffRows)
        np.testing.assert_array_equal(rows_of(opened), expected)
        np.testing.assert_array_equal(read_pixels(path), expected)
        assert np.abs(expected.astype(int) - pixels).mean() < 2


@pytest.mark.parametrize("colours", ["rgb", "ycbcr"])
def test_jpeg_2000_of_aperio(colours, tmp_path, in_parts, monkeypatch):
    pixels = smooth(150, 200)
    encode = jpeg2000 if colours == "rgb" else lambda tile: jpeg2000(in_ycbcr(tile), mct=0)
    tiles = tiles_of(pixels, encode)
    number = {"rgb": 33005, "ycbcr": 33003}[colours]
    how = {"photometric": colours, "subsampling": (1, 1), "description": "Aperio |MPP = 0.5|"}
    write_coded(tmp_path / "a.svs", pixels, tiles, monkeypatch, compression=number, **how)
    opened = open_picture(tmp_path / "a.svs")
    assert isinstance(opened._pixels, TiffRows)
    assert opened.mpp == (0.5, 0.5)
    expected = pixels if colours == "rgb" else np.asarray(Image.fromarray(in_ycbcr(pixels), "YCbCr").convert("RGB"))
    np.testing.assert_array_equal(rows_of(opened), expected)
    np.testing.assert_array_equal(read_pixels(tmp_path / "a.svs"), expected)


def test_hamamatsus_jpeg_is_read_by_its_pieces(tmp_path, in_parts):
    pixels = smooth(192, 256)
    levels = [pixels, area_mean(pixels, 2)]
    write_ndpi(tmp_path / "a.ndpi", levels)
    slide = slide_of(tmp_path / "a.ndpi")
    assert [(level.height, level.width, level.mpp_y) for level in slide.levels] == [(192, 256, 0.25), (96, 128, 0.5)]
    for mpp, level in ((None, pixels), (0.5, levels[1])):
        opened = open_picture(tmp_path / "a.ndpi", mpp=mpp)
        assert isinstance(opened._pixels, TiffRows)
        assert opened._pixels.step == 8
        found = rows_of(opened)
        assert found.shape == level.shape
        assert np.abs(found.astype(int) - level).mean() < 2
        np.testing.assert_array_equal(opened.rows(13, 37), found[13:37])
    np.testing.assert_array_equal(read_pixels(tmp_path / "a.ndpi"), rows_of(open_picture(tmp_path / "a.ndpi")))


def test_philips_glass_without_tiles_is_white(tmp_path, in_parts, monkeypatch):
    pixels = smooth(192, 256)
    write_philips(tmp_path / "a.tiff", [pixels, area_mean(pixels, 2)], monkeypatch, left_out=(0, 1, 6))
    opened = open_picture(tmp_path / "a.tiff")
    found = rows_of(opened)
    empty = np.zeros((192, 256), bool)
    empty[:64, :128] = empty[64:128, 128:192] = True
    assert (found[empty] == 255).all()
    assert np.abs(found[~empty].astype(int) - pixels[~empty]).mean() < 2
    np.testing.assert_array_equal(read_pixels(tmp_path / "a.tiff"), found)
    assert open_picture(tmp_path / "a.tiff", mpp=1.0).shape == (96, 128, 3)


def test_elsewhere_tiles_without_bytes_are_zero(tmp_path, in_parts, monkeypatch):
    pixels = smooth(192, 256)
    for left_out in ((0, 5), range(12)):
        tiles = tiles_of(pixels, jpeg, left_out=left_out)
        how = {"compression": "JPEG", "photometric": "ycbcr", "subsampling": (2, 2)}
        write_coded(tmp_path / "a.tif", pixels, tiles, monkeypatch, **how)
        if len(left_out) == 2:
            found = rows_of(open_picture(tmp_path / "a.tif"))
            assert not found[:64, :64].any()
            assert not found[64:128, 64:128].any()
            assert found[64:128, 128:].any()
        else:
            with pytest.raises(DataError, match=r"a\.tif: can't be decoded as a picture"):
                open_picture(tmp_path / "a.tif")


@pytest.mark.parametrize("compression", ["deflate", "lzw"])
def test_channels_in_pages_of_their_own(compression, tmp_path, in_parts, monkeypatch):
    """Fluorescence: 16 bits, a page a channel, by whatever decoder."""
    channels = np.random.default_rng(0).integers(0, 65536, (5, 100, 140), dtype=np.uint16)
    path = tmp_path / "a.ome.tif"
    metadata = {"axes": "CYX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
    options = {"photometric": "minisblack", "metadata": metadata}
    if compression == "deflate":
        tifffile.imwrite(path, channels, tile=(64, 64), compression="deflate", **options)
    else:
        strips = []
        for channel in channels:
            alone = io.BytesIO()
            Image.fromarray(channel).save(alone, "TIFF", compression="tiff_lzw")
            alone.seek(0)
            with tifffile.TiffFile(alone) as file:
                (begin,), (length,) = file.pages.first.dataoffsets, file.pages.first.databytecounts
            strips.append(alone.getvalue()[begin : begin + length])
        monkeypatch.setitem(tifffile.TIFF.COMPRESSORS._codecs, 5, lambda data, **_: data)
        tifffile.imwrite(path, iter(strips), shape=channels.shape, dtype=np.uint16, compression="lzw", **options)
    expected = np.moveaxis(channels, 0, 2)
    opened = open_picture(path)
    assert isinstance(opened._pixels, ChannelRows)
    assert opened.shape == (100, 140, 5)
    np.testing.assert_array_equal(rows_of(opened), expected)
    np.testing.assert_array_equal(read_pixels(path), expected)
    np.testing.assert_array_equal(Reader(channels=5).read(path), (expected / np.float32(65535)).astype(np.float32))
    halved = open_picture(path, mpp=1.0)
    assert halved.shape == (50, 70, 5)
    assert halved.dtype == np.uint16
    np.testing.assert_array_equal(rows_of(halved), area_mean(expected, 2))
    with pytest.raises(DataError, match=r"a\.ome\.tif: the picture has 5 channels; the model takes 3"):
        Reader(channels=3).read(path)


def test_a_fluorescence_pyramid(tmp_path):
    channels = np.random.default_rng(0).integers(0, 65536, (4, 128, 192), dtype=np.uint16)
    half = np.moveaxis(area_mean(np.moveaxis(channels, 0, 2), 2), 2, 0)
    options = {"photometric": "minisblack", "tile": (64, 64), "compression": "deflate"}
    with tifffile.TiffWriter(tmp_path / "a.ome.tif") as file:
        metadata = {"axes": "CYX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
        file.write(channels, subifds=1, metadata=metadata, **options)
        file.write(half, subfiletype=1, **options)
    np.testing.assert_array_equal(rows_of(open_picture(tmp_path / "a.ome.tif")), np.moveaxis(channels, 0, 2))
    opened = open_picture(tmp_path / "a.ome.tif", mpp=1.0)
    assert isinstance(opened._pixels, ChannelRows)
    np.testing.assert_array_equal(rows_of(opened), np.moveaxis(half, 0, 2))


def test_ome_of_more_than_channels_is_refused(tmp_path):
    for axes, shape in (("TCYX", (2, 3, 60, 50)), ("ZCYX", (2, 3, 60, 50)), ("CYXS", (2, 60, 50, 3))):
        values = np.zeros(shape, np.uint8)
        kind = "rgb" if axes.endswith("S") else "minisblack"
        tifffile.imwrite(tmp_path / "a.ome.tif", values, photometric=kind, metadata={"axes": axes})
        expected = rf"a\.ome\.tif: .*it is a stack of shape {'×'.join(map(str, shape))}; one picture is expected"
        with pytest.raises(DataError, match=expected):
            open_picture(tmp_path / "a.ome.tif")


def test_pages_of_a_file_that_is_missing(tmp_path):
    """OME spreads a picture over several files; tifffile gives zeros for those that aren't there."""
    channels = np.ones((2, 60, 50), np.uint8)
    tifffile.imwrite(tmp_path / "a.ome.tif", channels, photometric="minisblack", metadata={"axes": "CYX"})
    data = (tmp_path / "a.ome.tif").read_bytes()
    assert data.count(b'SizeC="2"') == 1
    (tmp_path / "a.ome.tif").write_bytes(data.replace(b'SizeC="2"', b'SizeC="4"'))
    with pytest.raises(DataError, match=r"2 of its 4 pages are missing; if it is of a set of files, put them together"):
        open_picture(tmp_path / "a.ome.tif")


@pytest.mark.parametrize(("number", "name"), [(34887, "LERC"), (22610, "JPEGXR_NDPI")])
def test_rare_compressions_name_the_extra(number, name, tmp_path, in_parts, monkeypatch):
    tiles = tiles_of(PIXELS, lambda _: b"none of ours")
    write_coded(tmp_path / "a.tif", PIXELS, tiles, monkeypatch, compression=number, photometric="rgb")
    monkeypatch.setattr("segkit.data.decoding.find_spec", lambda _: None)
    needs = r'which another library decodes: pip install "segkit\[slides\]"'
    expected = rf"a\.tif: .*it is compressed by {name} \(8 bits\), {needs}"
    with pytest.raises(DataError, match=expected):
        open_picture(tmp_path / "a.tif")
    with pytest.raises(DataError, match=expected):
        read_pixels(tmp_path / "a.tif")


def test_rare_compressions_in_rare_colours(tmp_path, monkeypatch):
    tiles = tiles_of(PIXELS, lambda _: b"none of ours")
    write_coded(tmp_path / "a.tif", PIXELS, tiles, monkeypatch, compression=34887, photometric="cielab")
    with pytest.raises(DataError, match=r"it is compressed by LERC, in colours of kind CIELAB; save it in RGB"):
        read_pixels(tmp_path / "a.tif")


def test_the_extra_reads_them(tmp_path, in_parts):
    pytest.importorskip("imagecodecs")
    grey = smooth(192, 256)[..., 0].astype(np.uint16) * 16
    tifffile.imwrite(tmp_path / "a.tif", grey, tile=(64, 64), compression="jpeg", compressionargs={"bitspersample": 12})
    tifffile.imwrite(tmp_path / "b.tif", PIXELS, tile=(64, 64), compression="jpegxr", photometric="rgb")
    tifffile.imwrite(tmp_path / "c.tif", grey, tile=(64, 64), compression="lerc")
    assert np.abs(rows_of(open_picture(tmp_path / "a.tif"))[..., 0].astype(int) - grey).mean() < 100
    for name, pixels in (("b.tif", PIXELS), ("c.tif", grey[..., None])):
        opened = open_picture(tmp_path / name)
        assert isinstance(opened._pixels, TiffRows)
        np.testing.assert_array_equal(rows_of(opened), pixels)
