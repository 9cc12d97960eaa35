import io
import struct
import zlib

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from segkit.data.masks import read_values
from segkit.data.reader import Reader, orientation_of, read_pixels
from segkit.errors import DataError

GREY8 = np.arange(48, dtype=np.uint8).reshape(6, 8)
COLOUR8 = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)


def oriented_jpeg(path, orientation, **options):
    """A dark picture with a bright top left corner, stored upright and tagged."""
    pixels = np.zeros((16, 32, 3), np.uint8)
    pixels[:8, :8] = 255
    picture = Image.fromarray(pixels)
    exif = picture.getexif()
    exif[0x0112] = orientation
    picture.save(path, exif=exif, quality=95, **options)
    return path


@pytest.mark.parametrize("suffix", ["png", "tif", "bmp"])
def test_grey_has_one_channel_and_its_values(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(GREY8).save(path)
    pixels = read_pixels(path)
    assert pixels.dtype == np.uint8
    if suffix == "bmp":  # stored with a palette, so it comes back as colour
        pixels = pixels[..., :1]
    assert np.array_equal(pixels, GREY8[..., None])


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_colour_is_in_rgb_order_and_alpha_is_dropped(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    alpha = np.full((6, 8, 1), 7, np.uint8)
    Image.fromarray(np.concatenate([COLOUR8, alpha], axis=2)).save(path)
    assert np.array_equal(read_pixels(path), COLOUR8)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_grey_with_alpha_is_one_channel(tmp_path, kind):
    path, grey = tmp_path / "a.png", (GREY8.astype(kind) * (257 if kind == np.uint16 else 1)).astype(kind)
    path.write_bytes(png_of(np.stack([grey, np.full_like(grey, 9)], axis=2)))
    assert np.array_equal(read_pixels(path), grey[..., None])


def png_of(pixels):
    """The bytes of a PNG of grey and alpha [H, W, 2], of 8 or 16 bits, which libraries don't write both."""
    height, width, _ = pixels.shape
    rows = b"".join(b"\0" + row.astype(row.dtype.newbyteorder(">")).tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 8 * pixels.itemsize, 4, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    parts = [
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_stay_sixteen(tmp_path, suffix):
    pixels = np.random.default_rng(0).integers(0, 65536, (6, 8, 3), dtype=np.uint16)
    cv2.imwrite(str(tmp_path / f"a.{suffix}"), pixels[..., ::-1])
    read = read_pixels(tmp_path / f"a.{suffix}")
    assert read.dtype == np.uint16
    assert np.array_equal(read, pixels)


def test_a_tiff_of_five_float_channels_reads_whichever_way_it_is_laid_out(tmp_path):
    pixels = np.random.default_rng(0).random((6, 8, 5)).astype(np.float32)
    tifffile.imwrite(tmp_path / "last.tif", pixels, photometric="minisblack", planarconfig="contig")
    tifffile.imwrite(
        tmp_path / "first.tif", pixels.transpose(2, 0, 1), photometric="minisblack", planarconfig="separate"
    )
    assert np.array_equal(read_pixels(tmp_path / "last.tif"), pixels)
    assert np.array_equal(read_pixels(tmp_path / "first.tif"), pixels)


def test_a_tiff_where_zero_is_white_is_inverted(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", GREY8, photometric="miniswhite")
    assert np.array_equal(read_pixels(tmp_path / "a.tif")[..., 0], 255 - GREY8)


def test_a_stack_of_pictures_is_not_one_picture(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((4, 6, 8), np.uint8), imagej=True, metadata={"axes": "ZYX"})
    with pytest.raises(DataError, match="stack of shape 4×6×8; one picture is expected"):
        read_pixels(tmp_path / "a.tif")


TURNED = {1: lambda p: p, 3: lambda p: p[::-1, ::-1], 6: lambda p: np.rot90(p, -1)}
SMOOTH8 = np.add.outer(np.arange(0, 240, 10), np.arange(16)).astype(np.uint8)  # [24, 16], what JPEG keeps


@pytest.mark.parametrize("compression", ["raw", "tiff_deflate", "tiff_lzw", "packbits", "jpeg"])
@pytest.mark.parametrize("orientation", TURNED)
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_tiff_is_turned_once_and_loses_its_alpha_alone(tmp_path, compression, orientation, channels):
    alpha = np.full_like(SMOOTH8, 100)
    layers = [SMOOTH8, SMOOTH8 // 2, 255 - SMOOTH8, alpha][:channels]
    stored = np.stack(layers[:3], axis=2)
    path = tmp_path / "a.tif"
    picture = Image.fromarray(np.stack(layers, axis=2).squeeze())
    picture.save(path, compression=compression, tiffinfo={0x0112: orientation})
    apart = 8 if compression == "jpeg" else 0
    for upright, expected in ((True, TURNED[orientation](stored)), (False, stored)):
        read = read_pixels(path, upright=upright)
        assert read.shape == expected.shape
        assert np.abs(read.astype(int) - expected).max() <= apart


@pytest.mark.parametrize("orientation", TURNED)
def test_a_compressed_tiff_of_sixteen_bits_is_turned_once(tmp_path, orientation):
    stored = np.random.default_rng(0).integers(0, 65536, (6, 8), dtype=np.uint16)
    Image.fromarray(stored).save(tmp_path / "a.tif", compression="tiff_lzw", tiffinfo={0x0112: orientation})
    read = read_pixels(tmp_path / "a.tif")
    assert read.dtype == np.uint16
    assert np.array_equal(read[..., 0], TURNED[orientation](stored))


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "packbits", "jpeg"])
def test_a_tiff_of_several_pages_is_not_one_picture(tmp_path, compression):
    pages = [Image.fromarray(GREY8 + page) for page in range(3)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:], compression=compression)
    with pytest.raises(DataError, match="stack of shape 3×6×8; one picture is expected"):
        read_pixels(tmp_path / "a.tif")


def test_pillow_takes_as_many_pixels_as_opencv_and_more_are_an_error(tmp_path, monkeypatch):
    picture, mask = oriented_jpeg(tmp_path / "a.jpg", 6), tmp_path / "mask.png"
    indexed = Image.fromarray(GREY8)
    indexed.putpalette(range(256))
    indexed.save(mask)
    assert Image.MAX_IMAGE_PIXELS == 2**30
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)  # Pillow refuses from twice as many on
    with pytest.raises(DataError, match=r"a\.jpg: too many pixels"):
        read_pixels(picture)
    with pytest.raises(DataError, match=r"mask\.png: can't be decoded as a mask \(Image size \(48 pixels\)"):
        read_values(mask)


@pytest.mark.parametrize("orientation", TURNED)
def test_a_compressed_tiff_keeps_sixteen_bits_of_colour(tmp_path, orientation):
    stored = np.random.default_rng(0).integers(0, 65536, (6, 8, 3), dtype=np.uint16)
    path = tmp_path / "a.tif"
    cv2.imwrite(str(path), stored[..., ::-1], [cv2.IMWRITE_TIFF_COMPRESSION, 5])  # LZW
    with tifffile.TiffFile(path, mode="r+") as file:
        tag = file.pages.first.tags["PlanarConfiguration"]  # says what is the default: its place is free for another
        file.filehandle.seek(tag.offset)
        file.filehandle.write(np.array([0x0112, 3, 1, 0, orientation, 0], "<u2").tobytes())
    assert np.array_equal(read_pixels(path), TURNED[orientation](stored))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_compressed_tiff_with_a_damaged_strip_is_an_error(tmp_path, dtype):
    path = tmp_path / "a.tif"
    Image.fromarray(GREY8.astype(dtype)).save(path, compression="tiff_lzw")
    with tifffile.TiffFile(path) as file:
        start, length = file.pages.first.dataoffsets[0], file.pages.first.databytecounts[0]
    data = path.read_bytes()
    path.write_bytes(data[:start] + bytes(length) + data[start + length :])
    with pytest.raises(DataError, match=r"a\.tif: can't be decoded as a picture"):
        read_pixels(path)


def test_opencv_says_nothing_before_our_own_line(tmp_path, capfd):
    with pytest.raises(DataError, match=r"absent\.png: no such file"):
        read_values(tmp_path / "absent.png")
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("orientation", "corner"),
    [(1, (0, 0)), (2, (0, -1)), (3, (-1, -1)), (4, (-1, 0)), (5, (0, 0)), (6, (0, -1)), (7, (-1, -1)), (8, (-1, 0))],
)
def test_exif_orientation_is_applied(tmp_path, orientation, corner):
    path = oriented_jpeg(tmp_path / "a.jpg", orientation)
    pixels = read_pixels(path)
    assert pixels.shape[:2] == ((16, 32) if orientation < 5 else (32, 16))
    assert pixels[corner].min() > 200
    assert orientation_of(path) == orientation
    assert read_pixels(path, upright=False).shape[:2] == (16, 32)


def test_orientation_agrees_with_pillow(tmp_path):
    from PIL import ImageOps

    pixels = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    for orientation in range(1, 9):
        picture = Image.fromarray(pixels)
        exif = picture.getexif()
        exif[0x0112] = orientation
        picture.save(tmp_path / "a.png", exif=exif)
        with Image.open(tmp_path / "a.png") as stored:
            expected = np.asarray(ImageOps.exif_transpose(stored))
        assert np.array_equal(read_pixels(tmp_path / "a.png"), expected)


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.95])
def test_a_truncated_file_is_an_error_and_not_grey(tmp_path, suffix, share):
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8))
    buffer = io.BytesIO()
    picture.save(buffer, {"jpg": "JPEG", "png": "PNG", "tif": "TIFF"}[suffix])
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(buffer.getvalue()[: int(share * len(buffer.getvalue()))])
    with pytest.raises(DataError, match=r"a\.\w+: (the file is cut short|can't be decoded)"):
        read_pixels(path)


def test_a_truncated_jpeg_is_found_although_its_thumbnail_is_whole(tmp_path):
    thumbnail, full = io.BytesIO(), io.BytesIO()
    Image.fromarray(COLOUR8).save(thumbnail, "JPEG")
    Image.fromarray(np.zeros((40, 50, 3), np.uint8)).save(full, "JPEG")
    preview, data = thumbnail.getvalue(), full.getvalue()
    segment = b"\xff\xe2" + (len(preview) + 2).to_bytes(2, "big") + preview
    (tmp_path / "whole.jpg").write_bytes(data[:2] + segment + data[2:])
    (tmp_path / "cut.jpg").write_bytes((data[:2] + segment + data[2:])[:-2])
    assert read_pixels(tmp_path / "whole.jpg").shape == (40, 50, 3)
    with pytest.raises(DataError, match="cut short"):
        read_pixels(tmp_path / "cut.jpg")


def test_what_is_no_picture_is_said_in_one_line(tmp_path):
    (tmp_path / "text.png").write_text("hello")
    (tmp_path / "empty.png").write_bytes(b"")
    tifffile.imwrite(tmp_path / "nan.tif", np.full((4, 4), np.nan, np.float32))
    with pytest.raises(DataError, match=r"absent\.png: no such file"):
        read_pixels(tmp_path / "absent.png")
    with pytest.raises(DataError, match=r"text\.png: can't be decoded as a picture"):
        read_pixels(tmp_path / "text.png")
    with pytest.raises(DataError, match=r"empty\.png: the file is empty"):
        read_pixels(tmp_path / "empty.png")
    with pytest.raises(DataError, match=r"nan\.tif: holds values that are not finite"):
        read_pixels(tmp_path / "nan.tif")


def test_grey_is_repeated_and_colour_becomes_its_luma():
    assert np.array_equal(Reader(channels=3).channels_of(GREY8), np.stack([GREY8] * 3, axis=2))
    primaries = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]]], np.uint8)
    luma = Reader(channels=1).channels_of(primaries)
    assert luma.dtype == np.uint8
    assert luma.ravel().tolist() == [76, 150, 29, 255]  # 0.299, 0.587 and 0.114 of 255
    with pytest.raises(ValueError, match="the picture has 3 channels; the model takes 5"):
        Reader(channels=5).channels_of(primaries)


def test_integers_are_scaled_by_their_type_and_floats_must_be_scaled_already():
    reader = Reader()
    assert reader.scale(np.array([0, 51, 255], np.uint8)).tolist() == pytest.approx([0, 0.2, 1])
    assert reader.scale(np.array([0, 13107, 65535], np.uint16)).tolist() == pytest.approx([0, 0.2, 1])
    assert reader.scale(np.array([0, 0.25, 1], np.float32)).tolist() == [0, 0.25, 1]
    with pytest.raises(ValueError, match="values run from -3 to 900; without an intensity window"):
        reader.scale(np.array([-3, 900], np.float32))
    assert reader.scale(np.array([-1e-7, 0.5, 1.0000001], np.float32)).tolist() == [0, 0.5, 1]
    with pytest.raises(ValueError, match=r"values run from 0 to 1\.000002; without an intensity window"):
        reader.scale(np.array([0, 1.000002], np.float32))


def test_a_window_scales_and_clips_in_the_files_own_units():
    scaled = Reader(window=(-100, 300)).scale(np.array([-500, -100, 100, 300, 999], np.float32))
    assert scaled.tolist() == [0, 0, 0.5, 1, 1]
    assert scaled.dtype == np.float32
    with pytest.raises(ValueError, match="must rise from low to high"):
        Reader(window=(1, 1))


def test_a_pictures_own_window_is_its_percentiles_and_forgives_a_few_outliers():
    pixels = np.linspace(100, 200, 10_000).reshape(100, 100).astype(np.float32)
    pixels[0, :3], pixels[-1, -3:] = -9000, 9000
    scaled = Reader(channels=1, window="picture").scale(pixels)
    low, high = np.percentile(pixels, (0.1, 99.9))
    np.testing.assert_allclose(scaled, np.clip((pixels - low) / (high - low), 0, 1), atol=1e-6)
    assert (low, high) == pytest.approx((100.1, 199.9), abs=0.05)
    dark = Reader(window="picture").scale((pixels.clip(100, 200) - 100).astype(np.uint8))
    assert (dark.min(), dark.max()) == (0, 1)
    assert not Reader(window="picture").scale(np.full((4, 4, 3), 7, np.uint8)).any()


def test_reading_names_the_file_that_does_not_fit(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.full((4, 4), 7, np.float32))
    with pytest.raises(DataError, match=r"a\.tif: values run from 7 to 7"):
        Reader(channels=1).read(tmp_path / "a.tif")
    Image.fromarray(GREY8).save(tmp_path / "a.png")
    read = Reader(channels=3).read(tmp_path / "a.png")
    assert read.shape == (6, 8, 3)
    assert read[5, 7].tolist() == pytest.approx([47 / 255] * 3)


def test_damaged_exif_says_nothing(tmp_path):
    png = io.BytesIO()
    Image.fromarray(COLOUR8).save(png, "png", exif=b"garbage!")
    (tmp_path / "a.png").write_bytes(png.getvalue())
    with Image.open(tmp_path / "a.png") as picture, pytest.raises(SyntaxError):
        picture.getexif()
    assert orientation_of(tmp_path / "a.png") == 1
    assert np.array_equal(read_pixels(tmp_path / "a.png"), COLOUR8)
