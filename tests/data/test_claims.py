"""Pictures whose headers promise more than their bytes hold, or more than memory does."""

import io
import struct
import subprocess
import sys
import tracemalloc
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image

from segkit.data.claims import claim_of, claim_of_tiff
from segkit.data.masks import read_stored
from segkit.data.picture import open_picture
from segkit.data.reader import read_pixels
from segkit.errors import DataError

SIDE = 50_000
RNG = np.random.default_rng(0)
NOISE = RNG.integers(0, 256, (64, 80, 3), dtype=np.uint8)


def saved(format, pixels=NOISE, **options):
    buffer = io.BytesIO()
    (pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)).save(buffer, format, **options)
    return buffer.getvalue()


def claiming(data, at, layout, *values):
    """The same bytes, other numbers in the header."""
    return data[:at] + struct.pack(layout, *values) + data[at + struct.calcsize(layout) :]


def png(data=None, side=SIDE):
    data = claiming(data or saved("PNG"), 16, ">II", side, side)
    return claiming(data, 29, ">I", zlib.crc32(data[12:29]))


def jpeg(side=SIDE):
    data = saved("JPEG")
    return claiming(data, data.index(b"\xff\xc0") + 5, ">HH", side, side)


def bmp(side=SIDE):
    return claiming(saved("BMP"), 18, "<ii", side, side)


def webp(side=SIDE):
    """A picture within a canvas."""
    canvas = b"VP8X" + struct.pack("<I", 10) + bytes(4) + 2 * (side - 1).to_bytes(3, "little")
    body = b"WEBP" + canvas + saved("WEBP")[12:]
    return b"RIFF" + struct.pack("<I", len(body)) + body


def tiff(side=SIDE, compression="tiff_lzw"):
    """One strip that claims to be the whole."""
    data = saved("TIFF", compression=compression)
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        tags = file.pages.first.tags
        for number in (256, 257, 278):
            offset, kind = tags[number].valueoffset, tags[number].dtype
            data = claiming(data, offset, "<H" if kind == 3 else "<I", side)
    return data


BOMBS = {
    "a.png": png(),
    "a.jpg": jpeg(),
    "a.bmp": bmp(),
    "a.tif": tiff(),
    "plain.tif": tiff(compression="raw"),
    "deflate.tif": tiff(compression="tiff_adobe_deflate"),
    "jpeg.tif": tiff(compression="jpeg"),
}


@pytest.mark.parametrize("name", list(BOMBS))
@pytest.mark.parametrize("read", [read_pixels, open_picture])
def test_what_its_bytes_cannot_hold_is_refused(tmp_path, name, read):
    (tmp_path / name).write_bytes(BOMBS[name])
    with pytest.raises(DataError) as refused:
        read(tmp_path / name)
    size = len(BOMBS[name])
    assert str(refused.value) == (
        f"{tmp_path / name}: the file is cut short, or damaged: {size:,} bytes can't hold the 50,000 × 50,000 pixels "
        "that it claims; copy or export it again"
    )


@pytest.mark.parametrize("name", ["a.webp", "enough.png", "enough.bmp"])
@pytest.mark.parametrize("read", [read_pixels, open_picture])
def test_what_takes_more_than_the_limit_is_refused(tmp_path, name, read):
    """WebP and run lengths can hold any size in few bytes; a PNG of 8 MB could hold that of 50,000 × 50,000."""
    packed = claiming(bmp(), 30, "<I", 1)
    enough = png(saved("PNG")[:-12] + bytes(8_000_000) + saved("PNG")[-12:])
    (tmp_path / name).write_bytes({"a.webp": webp(), "enough.png": enough, "enough.bmp": packed}[name])
    gib = "9.3" if name == "a.webp" else "7.0"
    with pytest.raises(DataError) as refused:
        read(tmp_path / name)
    assert str(refused.value) == (
        f"{tmp_path / name}: 50,000 × 50,000 pixels take {gib} GiB to decode at once, more than the limit of 1.0 GiB; "
        "cut it into smaller ones, or, to predict it, save it as a tiled TIFF, which is read part by part, or raise "
        "the limit (limit=BYTES, of segkit predict --limit GIB)"
    )


@pytest.mark.parametrize("mode", ["L", "P"])
def test_masks_are_held_to_the_same(tmp_path, mode):
    mask = saved("PNG", Image.fromarray(NOISE[..., 0] % 2).convert(mode))
    (tmp_path / "small.png").write_bytes(png(mask))
    (tmp_path / "large.png").write_bytes(png(mask[:-12] + bytes(8_000_000) + mask[-12:]))
    with pytest.raises(
        DataError, match=r"small\.png: the file is cut short, or damaged: [\d,]+ bytes can't hold the 50"
    ):
        read_stored(tmp_path / "small.png")
    with pytest.raises(DataError, match=r"large\.png: 50,000 × 50,000 pixels take \d\.\d GiB to decode at once"):
        read_stored(tmp_path / "large.png")


def test_the_limit_can_be_raised_and_lowered(tmp_path):
    flat = np.zeros((40, 50, 3), np.uint8)
    for name, data in (("a.png", saved("PNG", flat)), ("a.tif", saved("TIFF", flat, compression="tiff_lzw"))):
        (tmp_path / name).write_bytes(data)
        assert read_pixels(tmp_path / name, limit=6000).shape == (40, 50, 3)
        assert open_picture(tmp_path / name, limit=6000).shape == (40, 50, 3)
        with pytest.raises(DataError, match=r"40 × 50 pixels take 0\.0 GiB to decode at once"):
            read_pixels(tmp_path / name, limit=5999)


def test_a_file_longer_than_the_limit_is_not_even_read(tmp_path):
    (tmp_path / "a.png").write_bytes(bytes(101))
    with pytest.raises(DataError, match=r"a\.png: a file of 101 bytes, more than the limit of 100; raise it"):
        read_pixels(tmp_path / "a.png", limit=100)


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")
def test_bombs_are_refused_before_memory_is_taken(tmp_path):
    """All of them in one process: its peak of memory stays where it was with a small picture read."""
    for name, data in {**BOMBS, "a.webp": webp(), "packed.bmp": claiming(bmp(), 30, "<I", 1)}.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "small").mkdir()
    (tmp_path / "small" / "a.png").write_bytes(saved("PNG"))
    script = """
import sys
from pathlib import Path
from segkit.data.picture import open_picture
from segkit.data.reader import read_pixels
from segkit.errors import DataError

def peak():
    return int(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))) / 1024

folder = Path(sys.argv[1])
read_pixels(folder / "small" / "a.png")
before, refused = peak(), 0
for path in sorted(folder.glob("*.*")):
    for read in (read_pixels, open_picture):
        try:
            read(path)
        except DataError:
            refused += 1
print(refused, peak() - before)
"""
    done = subprocess.run([sys.executable, "-c", script, tmp_path], capture_output=True, text=True, check=True)
    refused, megabytes = done.stdout.split()
    assert int(refused) == 18
    assert float(megabytes) < 30


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")
@pytest.mark.parametrize("layout", ["tiles", "strips", "plain"])
def test_a_slide_is_read_by_rows_in_little_memory(tmp_path, layout):
    """24,000 × 24,000 in RGB are 1.6 GiB, which is more than the limit."""
    path, side = tmp_path / "slide.tif", 24_000
    if layout == "plain":
        tifffile.memmap(path, shape=(side, side, 3), dtype=np.uint8, photometric="rgb").flush()  # a hole on disk
    else:
        piece, count = ({"tile": (240, 240)}, 100**2) if layout == "tiles" else ({"rowsperstrip": 64}, 375)
        packed = zlib.compress(bytes(240 * 240 * 3 if layout == "tiles" else 64 * side * 3))
        options = {"photometric": "rgb", "compression": "deflate", **piece}
        tifffile.imwrite(path, (packed for _ in range(count)), shape=(side, side, 3), dtype=np.uint8, **options)
    script = """
import sys
from segkit.data.picture import open_picture

def peak():
    return int(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))) / 1024

before = peak()
picture = open_picture(sys.argv[1])
print(picture.shape, picture.rows(11_000, 11_512).shape, picture.rows(23_900, 24_000).shape, sep="|")
print(peak() - before)
"""
    done = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True, check=True)
    shapes, megabytes = done.stdout.splitlines()
    assert shapes == "(24000, 24000, 3)|(512, 24000, 3)|(100, 24000, 3)"
    assert float(megabytes) < 250


def test_a_whole_file_holds_what_it_claims():
    """The bounds are bounds: of one colour, no kind of file goes beyond them."""
    flat = np.zeros((3000, 2000, 3), np.uint8)
    for kind, options in (
        ("PNG", {"compress_level": 9}),
        ("JPEG", {"quality": 1, "progressive": True, "optimize": True}),
        ("BMP", {}),
        ("WEBP", {"lossless": True}),
    ):
        for pixels in (flat, flat[..., 0]):
            data = saved(kind, pixels, **options)
            claim = claim_of(data)
            assert (claim.height, claim.width) == (3000, 2000)
            assert claim.needed <= len(data)
            assert claim.decoded >= pixels.size
    for compression in ("tiff_lzw", "packbits", "tiff_adobe_deflate", "jpeg", "raw", "group4"):
        pixels = flat[..., 0] > 0 if compression == "group4" else flat
        data = saved("TIFF", pixels, compression=compression)
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            claim = claim_of_tiff(file)
        assert claim.needed <= len(data), compression


def test_tiles_without_bytes_need_none(tmp_path):
    path, tile = tmp_path / "sparse.tif", (256, 256)
    tiles = iter([b"\0" * 256**2, *[b""] * 255])
    tifffile.imwrite(path, tiles, shape=(4096, 4096), dtype=np.uint8, tile=tile, photometric="minisblack")
    with tifffile.TiffFile(path) as file:
        assert list(file.pages.first.databytecounts[:3]) == [256**2, 0, 0]
        assert claim_of_tiff(file).needed == 256**2
    assert not read_pixels(path).any()


def test_other_kinds_of_files_are_named(tmp_path):
    (tmp_path / "a.png").write_bytes(saved("GIF"))
    with pytest.raises(DataError, match="can't be decoded as a picture \\(it is no PNG, JPEG, TIFF, BMP or WebP file"):
        read_pixels(tmp_path / "a.png")


def deflated(path, unpacked, size=(100, 100)):
    """A grey TIFF in one strip, whose deflate stream holds so many bytes."""
    strip = zlib.compress(bytes(unpacked), 9)
    tags = [
        (256, size[1]),
        (257, size[0]),
        (258, 8),
        (259, 8),
        (262, 1),
        (273, 8),
        (277, 1),
        (278, size[0]),
        (279, len(strip)),
    ]
    entries = b"".join(struct.pack("<HHII", number, 4, 1, value) for number, value in tags)
    path.write_bytes(
        b"II*\0" + struct.pack("<I", 8 + len(strip)) + strip + struct.pack("<H", len(tags)) + entries + bytes(4)
    )
    return path


def test_a_strip_that_unpacks_to_more_than_the_limit_is_refused(tmp_path):
    assert read_pixels(deflated(tmp_path / "good.tif", 10_000), limit=1 << 20).shape == (100, 100, 1)
    bomb = deflated(tmp_path / "bomb.tif", 32 << 20)
    for read in (read_pixels, open_picture):
        tracemalloc.start()
        with pytest.raises(DataError, match=r"bomb.tif: a part of it unpacks to more than the limit of 0.0 GiB"):
            read(bomb, limit=1 << 20)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
        tracemalloc.stop()


def test_a_large_strip_that_is_read_by_rows_is_looked_at_too(tmp_path):
    side = 9000  # more than is decoded at once
    bomb = deflated(tmp_path / "large.tif", 3 * side * side, (side, side))
    with pytest.raises(DataError, match=r"large.tif: a part of it unpacks to more than the limit"):
        open_picture(bomb, limit=2 * side * side).rows(0, 10)


def test_a_tile_far_larger_than_its_picture_counts_whole(tmp_path):
    path = tmp_path / "tile.tif"
    tifffile.imwrite(path, np.zeros((100, 100), np.uint8), tile=(2048, 2048), compression="zlib")
    assert read_pixels(path, limit=8 << 20).shape == (100, 100, 1)
    for read in (read_pixels, open_picture):
        with pytest.raises(DataError, match=r"tile.tif: 100 × 100 pixels take 0.0 GiB to decode at once"):
            read(path, limit=1 << 20)
