"""Rows of a TIFF without the rest of it: what a slide of gigapixels needs.

The tiles or strips that cover the rows are copied into a small TIFF in memory, with the tags that say how to decode
them, and that one is decoded like any other. So parts and the whole are the same pixels, whatever the compression.
"""

import io
import struct
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import BinaryIO

import numpy as np
import tifffile
from numpy.typing import NDArray

from segkit.data.claims import DEFLATE, check_inflated
from segkit.data.decoding import Pixels, decode_tiff, other_pictures

AT_ONCE = 1 << 26
"""Bytes of pixels up to which rows are decoded together: far below any picture's limit, far above a call's cost."""

COPIED = (258, 259, 262, 266, 277, 284, 317, 320, 338, 339, 347, 530, 531, 532)
"""Tags that say how to decode: bits, compression, colours, order of bits, samples, planes, predictor, palette, alpha,
type, JPEG's tables, and how colours are subsampled."""

WIDTH, LENGTH, ROWS_PER_STRIP, TILE_WIDTH, TILE_LENGTH = 256, 257, 278, 322, 323
STRIPS, TILES = (273, 279), (324, 325)  # the tags of offsets and of byte counts
LONG = 4  # the type of a tag of 32 bits
OLD_JPEG = 6  # its tables are elsewhere in the file

Tag = tuple[int, int, int, bytes]  # number, type, count, values


@dataclass(frozen=True, eq=False)
class TiffRows:
    """A TIFF's picture, by ranges of rows.

    Attributes:
        path: the file.
        height, width: of the picture, in pixels.
        step: pixels from one row of segments (tiles or strips) to the next.
        tile_width: None for strips.
        offsets, counts: where segments begin and how many bytes they have, [planes, rows of segments, segments].
        order: of bytes in numbers, ``<`` or ``>``.
        tags: those that are the same for every part.
        step_bytes: of the pixels of a row of segments, all of them decoded whole.
        limit: bytes that a segment may unpack to; None where no decoder unpacks more than is claimed.
    """

    path: Path
    height: int
    width: int
    step: int
    tile_width: int | None
    offsets: NDArray[np.int64]
    counts: NDArray[np.int64]
    order: str
    tags: tuple[Tag, ...]
    step_bytes: int
    limit: int | None

    def rows(self, top: int, bottom: int) -> Pixels:
        """Pixels [bottom - top, W, C] as :func:`segkit.data.decoding.decode_tiff` gives them, and its errors."""
        last, together = ceil(bottom / self.step), max(1, AT_ONCE // self.step_bytes)
        parts = []
        for start in range(top // self.step, last, together):
            begin = start * self.step
            part = self._decoded(start, min(start + together, last))
            parts.append(part[max(top - begin, 0) : bottom - begin])
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _decoded(self, start: int, stop: int) -> Pixels:
        """Pixels of the rows of segments from ``start`` up to, but not including, ``stop``."""
        data = self._part(start, stop)
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            return decode_tiff(file, lambda: data)

    def _part(self, start: int, stop: int) -> bytes:
        """A TIFF of the same segments."""
        offsets, counts = self.offsets[:, start:stop].ravel(), self.counts[:, start:stop].ravel()
        with self.path.open("rb") as file:
            segments = [_bytes_at(file, int(offset), int(count)) for offset, count in zip(offsets, counts, strict=True)]
        if self.limit is not None:
            for segment in segments:
                check_inflated(segment, self.path, self.limit)
        places, sizes = STRIPS if self.tile_width is None else TILES
        tags = [*self.tags, self._long(WIDTH, self.width)]
        tags.append(self._long(LENGTH, min(stop * self.step, self.height) - start * self.step))
        if self.tile_width is None:
            tags.append(self._long(ROWS_PER_STRIP, self.step))
        else:
            tags += [self._long(TILE_WIDTH, self.tile_width), self._long(TILE_LENGTH, self.step)]
        tags.append(self._long(sizes, *counts))
        begins = np.cumsum([0, *counts[:-1]])
        head = len(self._head([*tags, self._long(places, *begins)]))  # as long as the one with the true places
        return b"".join([self._head([*tags, self._long(places, *(begins + head))]), *segments])

    def _head(self, tags: list[Tag]) -> bytes:
        """All of a TIFF that comes before the segments: header, tags, and the values that are too long for them."""
        magic = b"II*\0" if self.order == "<" else b"MM\0*"
        beyond = 8 + 2 + 12 * len(tags) + 4
        entries, values = [], b""
        for number, kind, count, value in sorted(tags):
            if len(value) <= 4:
                place = value.ljust(4, b"\0")
            else:
                place = struct.pack(f"{self.order}I", beyond + len(values))
                values += value + b"\0" * (len(value) % 2)
            entries.append(struct.pack(f"{self.order}HHI", number, kind, count) + place)
        directory = struct.pack(f"{self.order}H", len(tags)) + b"".join(entries) + bytes(4)
        return magic + struct.pack(f"{self.order}I", 8) + directory + values

    def _long(self, number: int, *values: int) -> Tag:
        return number, LONG, len(values), struct.pack(f"{self.order}{len(values)}I", *values)


def check_parts(file: tifffile.TiffFile, path: Path, limit: int) -> None:
    """Refuse (DataError) an open TIFF of which a strip or tile unpacks to more than ``limit`` bytes."""
    page = file.pages.first
    for offset, count in zip(page.dataoffsets, page.databytecounts, strict=False) if _inflates(page) else ():
        if count * DEFLATE > limit:
            check_inflated(_bytes_at(file.filehandle, offset, count), path, limit)


def tiff_rows(path: Path, file: tifffile.TiffFile, limit: int) -> TiffRows | None:
    """The open TIFF's picture by ranges of rows; None where it can only be read whole.

    That is a stack, a turned picture, colours of which a row can't be told from the next, and whatever else isn't cut
    into tiles or strips in the usual way.
    """
    page, series = file.pages.first, file.series[0]
    planes = page.samplesperpixel if page.planarconfig == tifffile.PLANARCONFIG.SEPARATE else 1
    plain = page.compression == tifffile.COMPRESSION.NONE
    usual = len(series.pages) == 1 and series.shape == page.shape and page.imagedepth == 1
    subsampled = plain and page.photometric == tifffile.PHOTOMETRIC.YCBCR
    if not usual or other_pictures(file) or page.compression == OLD_JPEG or subsampled:
        return None
    step = page.tilelength if page.is_tiled else min(page.rowsperstrip, page.imagelength)
    across = ceil(page.imagewidth / page.tilewidth) if page.is_tiled else 1
    shape = (planes, ceil(page.imagelength / step), across)
    if len(page.dataoffsets) != np.prod(shape):
        return None
    offsets, counts = (np.array(list_, np.int64).reshape(shape) for list_ in (page.dataoffsets, page.databytecounts))
    row_bits = page.imagewidth * page.samplesperpixel * page.bitspersample
    if plain and not page.is_tiled:  # each row for itself: such files often have one strip alone
        row_bytes = ceil(row_bits / planes / 8)
        row = np.arange(page.imagelength)
        offsets = offsets[:, row // step] + (row % step * row_bytes)[:, None]
        counts, step = np.full_like(offsets, row_bytes), 1
    across_bits = row_bits if not page.is_tiled else across * page.tilewidth * page.samplesperpixel * page.bitspersample
    tags = []
    for number in COPIED:
        tag = page.tags.get(number)
        if tag is not None:
            value = _bytes_at(file.filehandle, tag.valueoffset, tag.valuebytecount)
            tags.append((number, int(tag.dtype), int(tag.count), value))
    return TiffRows(
        path=path,
        height=page.imagelength,
        width=page.imagewidth,
        step=step,
        tile_width=page.tilewidth if page.is_tiled else None,
        offsets=offsets,
        counts=counts,
        order=file.byteorder,
        tags=tuple(tags),
        step_bytes=max(1, step * across_bits // 8),
        limit=limit if _inflates(page) else None,
    )


def _inflates(page: tifffile.TiffPage | tifffile.TiffFrame) -> bool:
    return page.compression in (tifffile.COMPRESSION.ADOBE_DEFLATE, tifffile.COMPRESSION.DEFLATE)


def _bytes_at(file: BinaryIO | tifffile.FileHandle, offset: int, count: int) -> bytes:
    file.seek(offset)
    return file.read(count)
