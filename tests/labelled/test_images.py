import numpy as np
import pytest
import tifffile
from PIL import Image

from segkit.errors import DataError, UsageError
from segkit.labelled.images import LabelledImages
from segkit.labelled.sources import Files


@pytest.fixture
def one(tmp_path):
    """One image of a file that is yet to be written."""

    def images(file):
        splits = {"train": np.array([0]), "test": np.array([], dtype=np.int64)}
        return LabelledImages(tmp_path, "one", ("a",), ["0"], np.array([0]), splits, (), Files(tmp_path, [file]))

    return images


def test_grey_is_repeated_and_colour_becomes_luma(one, tmp_path):
    Image.fromarray(np.arange(48, dtype=np.uint8).reshape(6, 8)).save(tmp_path / "grey.png")
    read = one("grey.png").read(0)
    assert read.dtype == np.uint8
    assert np.array_equal(read, np.repeat(np.arange(48).reshape(6, 8, 1), 3, axis=2))
    Image.new("RGB", (8, 6), (200, 100, 50)).save(tmp_path / "colour.png")
    assert one("colour.png").read(0, channels=1).tolist() == [[[124]] * 8] * 6  # 0.299·200 + 0.587·100 + 0.114·50


def test_sixteen_bits_and_floats_become_eight(one, tmp_path):
    values = np.array([[0, 128, 129, 257, 65535]], np.uint16)
    Image.fromarray(values).save(tmp_path / "deep.png")
    assert one("deep.png").read(0, channels=1).ravel().tolist() == [0, 0, 1, 1, 255]
    tifffile.imwrite(tmp_path / "float.tif", np.array([[0, 0.5, 1]], np.float32))
    assert one("float.tif").read(0, channels=1).ravel().tolist() == [0, 128, 255]
    tifffile.imwrite(tmp_path / "float.tif", np.array([[0, 2.5]], np.float32))
    with pytest.raises(DataError, match=r"float\.tif: values run from 0 to 2\.5; without an intensity window"):
        one("float.tif").read(0)


def test_alpha_is_dropped_and_palettes_and_inks_become_colours(one, tmp_path):
    Image.new("RGBA", (8, 6), (10, 20, 30, 99)).save(tmp_path / "alpha.png")
    assert one("alpha.png").read(0)[0, 0].tolist() == [10, 20, 30]
    palette = Image.new("P", (8, 6), 1)
    palette.putpalette([0, 0, 0, 10, 200, 30])
    palette.save(tmp_path / "palette.png")
    assert one("palette.png").read(0)[0, 0].tolist() == [10, 200, 30]
    Image.new("CMYK", (8, 6), (200, 60, 30, 0)).save(tmp_path / "inks.jpg", quality=95)
    assert np.abs(one("inks.jpg").read(0)[0, 0].astype(int) - [55, 195, 225]).max() <= 3


def test_an_image_is_upright(one, tmp_path):
    picture = Image.new("RGB", (8, 6))
    exif = picture.getexif()
    exif[0x0112] = 6
    picture.save(tmp_path / "turned.jpg", exif=exif)
    assert one("turned.jpg").read(0).shape == (8, 6, 3)


def test_a_file_that_cannot_be_used_is_named(one, tmp_path):
    with pytest.raises(DataError, match=r"gone\.png: no such file"):
        one("gone.png").read(0)
    Image.new("RGB", (64, 64), (1, 2, 3)).save(tmp_path / "cut.jpg")
    whole = (tmp_path / "cut.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2 + 200])
    with pytest.raises(DataError, match=r"cut\.jpg: the file is cut short"):
        one("cut.jpg").read(0)
    tifffile.imwrite(
        tmp_path / "five.tif", np.zeros((6, 8, 5), np.uint8), photometric="minisblack", planarconfig="contig"
    )
    with pytest.raises(DataError, match=r"five\.tif: the picture has 5 channels; the model takes 3"):
        one("five.tif").read(0)
    assert one("five.tif").read(0, channels=5).shape == (6, 8, 5)


def test_splits_are_named(one, tmp_path):
    images = one("a.png")
    assert len(images) == 1
    assert images.indices("test", "train").tolist() == [0]
    assert images.indices("train", "train").tolist() == [0]
    with pytest.raises(DataError, match="no split 'trian'; did you mean 'train'"):
        images.indices("trian")
    with pytest.raises(DataError, match="no split 'val'; there are: train, test"):
        images.indices("val")
    with pytest.raises(UsageError, match="name one split or more"):
        images.indices()
