"""TIFF pages compressed by JPEG 2000."""

import base64
import struct

import numpy as np
import pytest
import tifffile
from medical.slide_files import jpeg2000, smooth, tiles_of, write_coded

from segkit.data.reader import read_pixels
from segkit.errors import DataError

PIXELS = smooth(150, 200)

SUBSAMPLED = base64.b64decode(
    b"/0//UQAvAAAAAAAgAAAAIAAAAAAAAAAAAAAAIAAAACAAAAAAAAAAAAADBwEBBwIBBwIB/1IADAAAAAEAAgQEAAH/XAAKQEBISFBISFD/ZAAl"
    b"AAFDcmVhdGVkIGJ5IE9wZW5KUEVHIHZlcnNpb24gMi41LjD/kAAKAAAAAACmAAH/k8+0qBIrZtcPdGkGh1ffVfrVrOzeziyhZC23U+ODYKGQ"
    b"lOhhHUr9LAe4eXgqY8PnJBFgU0uKpNvVnUGEgqTSCV9Vn8PnIBQQW6HHtkjcZReE+ocAkH/AfCJAfCIANqGavz2mNC/A+QMAIhzx8at/wPkD"
    b"ACFw7/Grf8A6JAOiAF+nx4edrCk/wHwigDaheHJ/wHwigDX1dnJ//9k="
)
"""32 × 32 pixels, lossless: Y = 60 + 2 (row + column), and in every second column Cb = 100 + 4 k, Cr = 150 - 4 k.

By openjpeg's opj_compress: -F 32,32,3,8,u@1x1:2x1:2x1 -mct 0.
"""


@pytest.mark.parametrize("samples", [1, 3])
def test_without_loss_it_is_what_was_written(samples, tmp_path, monkeypatch):
    pixels = PIXELS[..., 0] if samples == 1 else PIXELS
    kind = "minisblack" if samples == 1 else "rgb"
    write_coded(
        tmp_path / "a.tif", pixels, tiles_of(pixels, jpeg2000), monkeypatch, compression=34712, photometric=kind
    )
    np.testing.assert_array_equal(read_pixels(tmp_path / "a.tif"), pixels.reshape(150, 200, samples))


def test_sixteen_bits_stay_sixteen(tmp_path, monkeypatch):
    grey = PIXELS[..., 0].astype(np.uint16) * 257
    write_coded(
        tmp_path / "a.tif", grey, tiles_of(grey, jpeg2000), monkeypatch, compression=34712, photometric="minisblack"
    )
    found = read_pixels(tmp_path / "a.tif")
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found[..., 0], grey)


def test_strips_and_inverted_grey(tmp_path, monkeypatch):
    grey = PIXELS[..., 0]
    monkeypatch.setitem(tifffile.TIFF.COMPRESSORS._codecs, 34712, lambda data, **_: data)
    strips = [jpeg2000(grey[top : top + 64]) for top in range(0, 150, 64)]
    how = {"shape": grey.shape, "dtype": grey.dtype, "rowsperstrip": 64, "compression": 34712, "metadata": None}
    tifffile.imwrite(tmp_path / "a.tif", iter(strips), photometric="miniswhite", **how)
    np.testing.assert_array_equal(read_pixels(tmp_path / "a.tif")[..., 0], 255 - grey)


def test_tiles_without_bytes_are_zero(tmp_path, monkeypatch):
    tiles = tiles_of(PIXELS, jpeg2000, left_out=(1,))
    write_coded(tmp_path / "a.tif", PIXELS, tiles, monkeypatch, compression=33005, photometric="rgb")
    expected = PIXELS.copy()
    expected[:64, 64:128] = 0
    np.testing.assert_array_equal(read_pixels(tmp_path / "a.tif"), expected)


@pytest.mark.parametrize("compression", [33003, 34712])
def test_colours_of_every_second_column(compression, tmp_path, monkeypatch):
    blank = np.zeros((32, 32, 3), np.uint8)
    how = {"compression": compression, "photometric": "ycbcr", "subsampling": (2, 1), "tile": 32}
    write_coded(tmp_path / "a.tif", blank, [SUBSAMPLED], monkeypatch, **how)
    row, column = np.mgrid[:32, :32]
    luma, blue, red = 60 + 2 * row + 2 * column, 4 * (column // 2) - 28, 22 - 4 * (column // 2)
    rgb = np.stack([luma + 1.402 * red, luma - 0.344136 * blue - 0.714136 * red, luma + 1.772 * blue], axis=-1)
    assert np.abs(read_pixels(tmp_path / "a.tif") - rgb.clip(0, 255)).max() < 1


@pytest.mark.parametrize(
    ("spoilt", "expected"),
    [
        (lambda _: b"nothing", "a tile of it doesn't begin as JPEG 2000 does: damaged"),
        (
            lambda tile: tile[:8] + struct.pack(">II", 1 << 20, 1 << 20) + tile[16:],
            "a tile of it is 1048576 × 1048576 pixels of 3 channels instead of 64 × 64 of 3: damaged",
        ),
        (lambda tile: tile[:120], ""),
    ],
)
def test_damage_is_said(spoilt, expected, tmp_path, monkeypatch):
    """A tile that claims to be far larger is refused before memory is taken for it."""
    tiles = tiles_of(PIXELS, jpeg2000)
    tiles[2] = spoilt(tiles[2])
    write_coded(tmp_path / "a.tif", PIXELS, tiles, monkeypatch, compression=33005, photometric="rgb")
    with pytest.raises(DataError, match=rf"a\.tif: can't be decoded as a picture \({expected}"):
        read_pixels(tmp_path / "a.tif")


def test_another_type_than_the_page_says(tmp_path, monkeypatch):
    grey = PIXELS[..., 0].astype(np.uint16)
    tiles = tiles_of(PIXELS[..., 0], jpeg2000)
    write_coded(tmp_path / "a.tif", grey, tiles, monkeypatch, compression=34712, photometric="minisblack")
    with pytest.raises(DataError, match=r"a tile of it holds uint8 instead of uint16: damaged"):
        read_pixels(tmp_path / "a.tif")


def test_colours_apart_are_refused(tmp_path, monkeypatch):
    planes = np.moveaxis(PIXELS, 2, 0)
    tiles = [tile for plane in planes for tile in tiles_of(plane, jpeg2000)]
    how = {"compression": 34712, "photometric": "rgb", "planarconfig": "separate"}
    write_coded(tmp_path / "a.tif", planes, tiles, monkeypatch, **how)
    with pytest.raises(
        DataError, match=r"compressed by JPEG 2000, with each colour apart; save it with the colours together"
    ):
        read_pixels(tmp_path / "a.tif")
