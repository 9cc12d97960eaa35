import numpy as np
import pytest
import tifffile

from segkit.data import scaled as module
from segkit.data.picture import open_picture
from segkit.data.reader import Reader
from segkit.data.scaled import scaled
from segkit.errors import DataError


def noise(*shape, dtype=np.uint16):
    return np.random.default_rng(0).integers(0, 5000, shape).astype(dtype)


@pytest.mark.parametrize("window", [None, (100, 3000), "picture"])
@pytest.mark.parametrize("shape", [(40, 30), (40, 30, 1), (40, 30, 3)])
def test_rows_are_those_of_the_picture_scaled_at_once(monkeypatch, window, shape):
    monkeypatch.setattr(module, "AT_ONCE", 7)
    pixels, reader = noise(*shape), Reader(channels=3, window=window)
    expected = reader.scale(reader.channels_of(pixels))
    image = scaled(pixels, reader, "x")
    assert image.size == (40, 30)
    assert np.array_equal(np.concatenate([image.rows(0, 13), image.rows(13, 40)]), expected)
    assert np.array_equal(image.whole(), expected)


def test_a_pictures_own_window_is_taken_from_the_same_values_however_it_is_read(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "AT_ONCE", 11)
    monkeypatch.setattr(module, "LOOKED_AT", 100)
    monkeypatch.setattr("segkit.data.reader.LOOKED_AT", 100)
    pixels, reader = noise(37, 23, 3), Reader(channels=3, window="picture")
    expected = reader.scale(pixels)
    tifffile.imwrite(tmp_path / "x.tif", pixels, photometric="rgb")
    assert np.array_equal(scaled(open_picture(tmp_path / "x.tif"), reader, "x").whole(), expected)
    assert np.array_equal(scaled(pixels, reader, "x").rows(20, 30), expected[20:30])


def test_memory_maps_and_doubles_are_taken_as_they_come(tmp_path):
    np.save(tmp_path / "x.npy", noise(9, 8, 3).astype(np.float64) / 5000)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    found = scaled(mapped, Reader(), "x").rows(2, 5)
    assert found.dtype == np.float32
    assert np.array_equal(found, mapped[2:5].astype(np.float32))


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (noise(4, 4, 2), "x: the picture has 2 channels; the model takes 3"),
        (np.full((4, 4), np.nan), r"x: holds values that are not finite \(NaN or infinity\)"),
        (np.full((4, 4), 7.0), "x: values run from 7 to 7; without an intensity window"),
    ],
)
def test_what_does_not_fit_is_refused(pixels, message):
    with pytest.raises(DataError, match=message):
        scaled(pixels, Reader(), "x").rows(0, 4)
