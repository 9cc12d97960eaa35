import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from segkit.data.masks import read_values
from segkit.errors import UsageError
from segkit.prediction.writers import output_folder, output_paths, write_map, write_mask, write_pages, write_picture

PALETTE = np.array([[0, 0, 0], [230, 159, 0], [86, 180, 233]], np.uint8)
LABELS = np.array([[0, 1, 2, 0], [2, 2, 1, 0], [1, 0, 0, 0]], np.uint8)


def test_the_output_folder_is_made_and_left_empty(tmp_path):
    folder = output_folder(tmp_path / "a" / "b")
    assert folder == tmp_path / "a" / "b"
    assert list(folder.iterdir()) == []
    assert output_folder(str(folder)) == folder


def test_a_place_that_takes_no_folder_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"file: can't write there \(File exists\); choose another output folder"):
        output_folder(tmp_path / "file")
    with pytest.raises(UsageError, match=r"below: can't write there \(Not a directory\)"):
        output_folder(tmp_path / "file" / "below")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_takes_no_files_is_refused(tmp_path):
    tmp_path.chmod(0o555)
    with pytest.raises(UsageError, match=r"can't write there \(Permission denied\)"):
        output_folder(tmp_path)


def names(kinds, suffix, task="binary", classes=("background", "vessel"), maps=1):
    paths = output_paths(Path("o"), "x", kinds, suffix=suffix, task=task, classes=classes, maps=maps)
    return [path.as_posix() for group in paths.values() for path in group]


def test_a_tiff_stays_a_tiff_and_everything_else_becomes_png():
    kinds = ["mask", "overlay", "probability", "entropy", "disagreement"]
    for suffix in (".png", ".jpg", ""):
        assert names(kinds, suffix) == [f"o/x_{kind}.png" for kind in kinds]
    assert names(kinds, ".TIF") == [
        "o/x_mask.tif",
        "o/x_overlay.png",
        "o/x_probability.tif",
        "o/x_entropy.tif",
        "o/x_disagreement.tif",
    ]


def test_several_maps_are_pages_of_a_tiff_and_multilabel_masks_a_folder():
    assert names(["mask", "probability"], ".png", "multiclass", "abc", 3) == ["o/x_mask.png", "o/x_probability.tif"]
    assert names(["mask"], ".png", "multilabel", ["soft", "hard"], 2) == ["o/x_mask/soft.png", "o/x_mask/hard.png"]


@pytest.mark.parametrize("label", ["and/or", "..", "a\\b", ""])
def test_a_class_that_cannot_name_a_file_is_refused(label):
    with pytest.raises(UsageError, match="can't name a mask's file; rename the class"):
        names(["mask"], ".png", "multilabel", ["fine", label], 2)


def test_a_png_mask_holds_ids_for_programs_and_colours_for_people(tmp_path):
    write_mask(tmp_path / "mask.png", LABELS, PALETTE)
    with Image.open(tmp_path / "mask.png") as picture:
        assert picture.mode == "P"
        assert np.array_equal(np.asarray(picture), LABELS)
        assert np.array_equal(np.asarray(picture.convert("RGB")), PALETTE[LABELS])


def test_a_tiff_mask_holds_plain_ids_for_every_program(tmp_path):
    write_mask(tmp_path / "mask.tif", LABELS, PALETTE)
    assert np.array_equal(tifffile.imread(tmp_path / "mask.tif"), LABELS)
    assert np.array_equal(cv2.imread(str(tmp_path / "mask.tif"), cv2.IMREAD_UNCHANGED), LABELS)


def test_a_written_mask_is_read_back_as_a_datasets_mask(tmp_path):
    for suffix in (".png", ".tif"):
        write_mask(tmp_path / f"mask{suffix}", LABELS, PALETTE)
        assert np.array_equal(read_values(tmp_path / f"mask{suffix}"), LABELS)


def test_255_labels_fit_into_a_mask(tmp_path):
    labels = np.arange(255, dtype=np.uint8).reshape(15, 17)
    write_mask(tmp_path / "mask.png", labels, np.random.default_rng(0).integers(0, 256, (255, 3), dtype=np.uint8))
    assert np.array_equal(np.asarray(Image.open(tmp_path / "mask.png")), labels)


def test_a_map_as_png_is_its_share_of_the_largest_value_in_16_bits(tmp_path):
    values = np.array([[0.0, 0.25, 0.5, 0.75]], np.float32)
    write_map(tmp_path / "map.png", values, largest=0.5, meaning="entropy in nats")
    assert cv2.imread(str(tmp_path / "map.png"), cv2.IMREAD_UNCHANGED).tolist() == [[0, 32768, 65535, 65535]]
    assert Image.open(tmp_path / "map.png").text == {"Description": "entropy in nats = pixel * 0.5 / 65535"}


def test_a_map_whose_largest_value_is_zero_is_zero(tmp_path):
    write_map(tmp_path / "map.png", np.zeros((2, 2), np.float32), largest=0.0, meaning="entropy in nats")
    assert not cv2.imread(str(tmp_path / "map.png"), cv2.IMREAD_UNCHANGED).any()


def test_maps_as_tiff_come_back_to_the_bit_with_their_names(tmp_path):
    maps = np.random.default_rng(0).random((3, 5, 4), dtype=np.float32)
    write_pages(tmp_path / "maps.tif", maps, ["road", "sky", "bäume"])
    assert np.array_equal(tifffile.imread(tmp_path / "maps.tif"), maps)
    with tifffile.TiffFile(tmp_path / "maps.tif") as file:
        assert [page.description for page in file.pages] == ["road", "sky", "bäume"]
    write_map(tmp_path / "map.tif", maps[0], largest=0.1, meaning="entropy in nats")
    assert np.array_equal(tifffile.imread(tmp_path / "map.tif"), maps[0])


@pytest.mark.parametrize(
    ("fails", "write"),
    [
        ("PIL.Image.Image.save", lambda path: write_mask(path.with_suffix(".png"), LABELS, PALETTE)),
        ("PIL.Image.Image.save", lambda path: write_picture(path.with_suffix(".png"), PALETTE[LABELS])),
        ("tifffile.imwrite", lambda path: write_mask(path.with_suffix(".tif"), LABELS, PALETTE)),
        ("tifffile.TiffWriter.write", lambda path: write_pages(path.with_suffix(".tif"), np.zeros((1, 2, 2)), ["a"])),
    ],
)
def test_a_writer_that_fails_midway_leaves_the_old_file(tmp_path, monkeypatch, fails, write):
    def half(*_, **__):
        for hidden in tmp_path.glob(".*"):
            hidden.write_bytes(b"ha")
        raise OSError("disk full")

    for suffix in (".png", ".tif"):
        (tmp_path / f"x{suffix}").write_text("old")
    monkeypatch.setattr(fails, half)
    with pytest.raises(OSError, match="disk full"):
        write(tmp_path / "x")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.png", "x.tif"]
    assert {p.read_text() for p in tmp_path.iterdir()} == {"old"}
