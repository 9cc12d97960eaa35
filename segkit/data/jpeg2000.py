"""TIFF pages compressed by JPEG 2000, as Aperio's scanners and Bio-Formats write them."""

import io
import struct
from math import ceil
from typing import BinaryIO, NamedTuple

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

JPEG2000 = (33003, 33004, 33005, 34712)
"""Numbers of the compression: two of Aperio's colours, one without them, and the common one."""

YCBCR = 33003
START = b"\xff\x4f\xff\x51"  # of a codestream: its beginning, and the marker of the sizes


def by_tiles(page: tifffile.TiffPage, file: BinaryIO | tifffile.FileHandle) -> NDArray[np.generic]:
    """A page's pixels [H, W, C], RGB where it has colours; tiles without any bytes are 0.

    Raises:
        ValueError: a tile is damaged, or is of another size than the page says.
    """
    if page.planarconfig == tifffile.PLANARCONFIG.SEPARATE and page.samplesperpixel > 1:
        raise ValueError("it is compressed by JPEG 2000, with each colour apart; save it with the colours together")
    height, width, samples = page.imagelength, page.imagewidth, page.samplesperpixel
    step_down, step_across = (page.tilelength, page.tilewidth) if page.is_tiled else (page.rowsperstrip, width)
    pixels = np.zeros((height, width, samples), page.dtype)
    across = ceil(width / step_across)
    in_ycbcr = page.compression == YCBCR or page.photometric == tifffile.PHOTOMETRIC.YCBCR
    for number, (offset, count) in enumerate(zip(page.dataoffsets, page.databytecounts, strict=True)):
        top, left = number // across * step_down, number % across * step_across
        if count == 0:
            continue
        file.seek(offset)
        high = step_down if page.is_tiled else min(step_down, height - top)
        tile = _decoded(file.read(count), (high, step_across, samples), in_ycbcr)
        if tile.dtype != page.dtype:
            raise ValueError(f"a tile of it holds {tile.dtype} instead of {page.dtype}: damaged; export it again")
        pixels[top : top + step_down, left : left + step_across] = tile[: height - top, : width - left]
    return pixels


class _Head(NamedTuple):
    height: int
    width: int
    components: int
    subsampled: bool


def _decoded(data: bytes, shape: tuple[int, int, int], in_ycbcr: bool) -> NDArray[np.generic]:
    """A codestream's pixels, which must have the shape given: it is looked at before memory is taken."""
    from openjpeg.utils import decode

    head = _head(data)
    if (head.height, head.width, head.components) != shape:
        found = f"{head.height} × {head.width} pixels of {head.components} channels"
        expected = f"{shape[0]} × {shape[1]} of {shape[2]}"
        raise ValueError(f"a tile of it is {found} instead of {expected}: damaged; export it again")
    if head.subsampled:  # Pillow takes such a codestream for YCbCr, and gives RGB
        with Image.open(io.BytesIO(data)) as picture:
            return np.asarray(picture)
    pixels: NDArray[np.generic] = decode(data, j2k_format=0).reshape(shape)
    if in_ycbcr and shape[2] == 3:
        if pixels.dtype != np.uint8:
            raise ValueError("it holds YCbCr of more than 8 bits; save it in RGB")
        return np.asarray(Image.fromarray(pixels, "YCbCr").convert("RGB"))
    return pixels


def _head(data: bytes) -> _Head:
    if not data.startswith(START) or len(data) < 42:
        raise ValueError("a tile of it doesn't begin as JPEG 2000 does: damaged; export it again")
    right, bottom, left, top = struct.unpack_from(">IIII", data, 8)
    components = struct.unpack_from(">H", data, 40)[0]
    each = data[42 : 42 + 3 * components]
    steps = {*each[1::3], *each[2::3]}
    return _Head(bottom - top, right - left, components, subsampled=steps != {1})
