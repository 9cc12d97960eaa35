"""What can be wrong with the pictures."""

import shutil

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

FLIP = slice(None, None, -1)


def test_files_that_cannot_be_used_say_why(cells, found):
    first, second, third = cells.train[:3]
    cut = (cells.path / f"images/{first}.png").read_bytes()
    (cells.path / f"images/{first}.png").write_bytes(cut[: len(cut) // 2])
    values = cells.image(second).astype(np.float32) / 255
    values[5, 5] = np.nan
    tifffile.imwrite(cells.path / f"images/{second}.tif", values, photometric="rgb")
    (cells.path / f"images/{second}.png").unlink()
    (cells.path / f"masks/{third}.png").write_bytes(b"")
    told = found(cells.path)
    assert told["unreadable"] == [
        f"images/{first}.png (the file is cut short; copy or export it again)",
        f"images/{second}.tif (holds values that are not finite (NaN or infinity))",
        f"masks/{third}.png (the file is empty; copy or export it again)",
    ]


def test_pictures_of_one_value(cells, found):
    cells.write(f"images/{cells.train[0]}.png", np.full((64, 64, 3), 9, np.uint8))
    assert found(cells.path) == {"constant": [f"images/{cells.train[0]}.png (all 9)"]}


def test_types_and_channels_side_by_side(cells, found):
    first, second, third = cells.train[:3]
    wide = cells.image(first).astype(np.uint16) * 16
    cells.write(f"images/{first}.png", wide)
    cells.write(f"images/{second}.png", cells.image(second)[..., 0])
    told = found(cells.path, notes=True)
    assert told["bit_depth"] == [f"uint8 (11, for example {second})", f"uint16 (1, for example {first})"]
    assert told["narrow_range"] == [f"images/{first}.png (up to {wide.max()})"]
    assert told["grey_and_colour"] == [f"3 channels (11, for example {first})", f"1 channel (1, for example {second})"]
    tifffile.imwrite(cells.path / f"images/{third}.tif", cells.image(third)[..., :2], planarconfig="contig")
    (cells.path / f"images/{third}.png").unlink()
    assert "channels" in found(cells.path)


def test_floats_need_a_window_outside_0_to_1(cells, found):
    for name in (*cells.train, *cells.val, *cells.test):
        scale = 1000 if name == cells.train[0] else 1
        tifffile.imwrite(
            cells.path / f"images/{name}.tif", scale * cells.image(name).astype(np.float32) / 255, photometric="rgb"
        )
        (cells.path / f"images/{name}.png").unlink()
    [place] = found(cells.path)["range"]
    assert place.startswith(f"images/{cells.train[0]}.tif (")


def test_a_turned_picture_is_a_note_and_its_mask_may_lie_either_way(cells, found):
    for name, stored in ((cells.train[0], True), (cells.train[1], False)):
        image, mask = cells.image(name)[:48], cells.mask(name)[:48]
        picture = Image.fromarray(np.ascontiguousarray(np.rot90(image)))
        exif = picture.getexif()
        exif[0x0112] = 6  # shown turned clockwise
        picture.save(cells.path / f"images/{name}.png", exif=exif)
        cells.write(f"masks/{name}.png", np.rot90(mask) if stored else mask)
    assert found(cells.path, notes=True) == {"exif": [f"images/{name}.png" for name in cells.train[:2]]}


def test_depth_must_be_readable_and_of_the_pictures_size(cells, found):
    cells.write(f"depth/{cells.train[0]}.png", np.zeros((32, 64), np.uint16))
    (cells.path / f"depth/{cells.train[1]}.png").write_bytes(b"")
    told = found(cells.path)
    assert told["depth_size"] == [f"depth/{cells.train[0]}.png (64×32, its picture 64×64)"]
    assert told["unreadable"] == [f"depth/{cells.train[1]}.png (the file is empty; copy or export it again)"]


def test_the_same_picture_in_two_splits_or_twice_in_one(cells, found):
    first, second, third = cells.train[:3]
    for part in ("images", "masks"):
        shutil.copy(cells.path / f"{part}/{cells.test[0]}.png", cells.path / f"{part}/{first}.png")
        shutil.copy(cells.path / f"{part}/{second}.png", cells.path / f"{part}/{third}.png")
    assert found(cells.path, notes=True) == {
        "same_picture": [f"{first} (in train; {cells.test[0]} in test)"],
        "again": [f"{second} (as {third})"],
    }


def jpeg(image):
    return cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 60])[1], cv2.IMREAD_UNCHANGED)


@pytest.mark.parametrize(
    "change",
    [
        jpeg,
        lambda image: cv2.resize(image, (96, 96), interpolation=cv2.INTER_CUBIC),
        lambda image: cv2.convertScaleAbs(image, alpha=0.9, beta=12),
        lambda image: jpeg(np.ascontiguousarray(image[:, FLIP])),
        lambda image: np.rot90(image),
    ],
    ids=["compressed", "resized", "brightened", "mirrored", "turned"],
)
def test_nearly_the_same_picture_in_two_splits(cells, found, change):
    name = cells.train[0]
    image = change(cells.image(cells.test[1]))
    cells.write(f"images/{name}.png", image)
    cells.write(f"masks/{name}.png", np.zeros(image.shape[:2], np.uint8))
    assert found(cells.path)["near_copy"] == [f"{name} (in train; {cells.test[1]} in test)"]
