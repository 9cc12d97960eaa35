"""Rows of a TIFF without the rest of it: what a slide of gigapixels needs.

The tiles or strips that cover the rows are copied into a small TIFF in memory, with the tags that say how to decode
them, and that one is decoded like any other. So parts and the whole are the same pixels, whatever the compression.
"""

import io
import struct
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path
from typing import BinaryIO

import numpy as np
import tifffile
from numpy.typing import NDArray

from segkit.data.claims import DEFLATE, check_inflated
from segkit.data.decoding import Pixels, decode_tiff, is_plain, other_pictures, picture_series

AT_ONCE = 1 << 26
"""Bytes of pixels up to which rows are decoded together: far below any picture's limit, far above a call's cost."""

COPIED = (258, 259, 262, 266, 277, 284, 317, 320, 338, 339, 347, 530, 531, 532, 50674)
"""Tags that say how to decode: bits, compression, colours, order of bits, samples, planes, predictor, palette, alpha,
type, JPEG's tables, how colours are subsampled, and LERC's parameters."""

WIDTH, LENGTH, ROWS_PER_STRIP, TILE_WIDTH, TILE_LENGTH = 256, 257, 278, 322, 323
STRIPS, TILES = (273, 279), (324, 325)  # the tags of offsets and of byte counts
LONG = 4  # the type of a tag of 32 bits
OLD_JPEG = 6  # its tables are elsewhere in the file
JPEG_END = b"\xff\xd9"

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
        header: what stands before each segment, a JPEG cut at its restart markers; empty in other files.
        donor: offset and length of a segment with pixels, which is decoded in the place of those without any bytes;
            None where the decoder knows such segments, or there are none.
        empty: value of the pixels of these.
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
    header: bytes = b""
    donor: tuple[int, int] | None = None
    empty: int = 0
    _kept: dict[int, Pixels] = field(default_factory=dict, repr=False)  # the last row of segments, by its number

    def rows(self, top: int, bottom: int) -> Pixels:
        """Pixels [bottom - top, W, C] as :func:`segkit.data.decoding.decode_tiff` gives them, and its errors."""
        start, last = top // self.step, ceil(bottom / self.step)
        together, parts = max(1, AT_ONCE // self.step_bytes), []
        while start < last:
            kept = self._kept.get(start)
            stop = min(start + together, last) if kept is None else start + 1
            part = self._decoded(start, stop) if kept is None else kept
            parts.append(part[max(top - start * self.step, 0) : bottom - start * self.step])
            start = stop
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _decoded(self, start: int, stop: int) -> Pixels:
        """Pixels of the rows of segments from ``start`` up to, but not including, ``stop``.

        The last of them is kept: who reads on from the middle of it need not decode it again.
        """
        self._kept.clear()
        data = self._part(start, stop)
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            pixels = decode_tiff(file, lambda: data)
        if self.donor is not None:
            pixels = self._blanked(pixels, start, stop)
        if self.step > 1:
            self._kept[stop - 1] = pixels[(stop - 1 - start) * self.step :].copy() if stop - start > 1 else pixels
        return pixels

    def _blanked(self, pixels: Pixels, start: int, stop: int) -> Pixels:
        """The same with the value that they stand for in all tiles without any bytes."""
        pixels, width = pixels.copy(), self.tile_width or self.width
        for _, row, column in np.argwhere(self.counts[:, start:stop] == 0):
            pixels[row * self.step : (row + 1) * self.step, column * width : (column + 1) * width] = self.empty
        return pixels

    def _part(self, start: int, stop: int) -> bytes:
        """A TIFF of the same segments."""
        found = zip(self.offsets[:, start:stop].ravel(), self.counts[:, start:stop].ravel(), strict=True)
        taken = [(int(at), int(count)) if count else self.donor or (0, 0) for at, count in found]
        end = JPEG_END if self.header else b""
        with self.path.open("rb") as file:
            segments = [self.header + _bytes_at(file, at, count) + end for at, count in taken]
        lengths = [len(segment) for segment in segments]
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
        tags.append(self._long(sizes, *lengths))
        begins = np.cumsum([0, *lengths[:-1]])
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


@dataclass(frozen=True, eq=False)
class ChannelRows:
    """A TIFF's picture of which each channel is a page of its own, by ranges of rows.

    Attributes:
        pages: of one size and type.
    """

    pages: tuple[TiffRows, ...]

    @property
    def height(self) -> int:
        """Of the picture, in pixels."""
        return self.pages[0].height

    @property
    def step_bytes(self) -> int:
        """Of the pixels of a row of segments."""
        return self.pages[0].step_bytes * len(self.pages)

    def rows(self, top: int, bottom: int) -> Pixels:
        """Pixels [bottom - top, W, C], the channels in the pages' order."""
        return np.concatenate([page.rows(top, bottom) for page in self.pages], axis=2)


def check_parts(file: tifffile.TiffFile, path: Path, limit: int) -> None:
    """Refuse (DataError) an open TIFF of which a strip or tile unpacks to more than ``limit`` bytes."""
    series = picture_series(file)
    for page in series.pages if _inflates(series.keyframe) else ():
        if page is None or page.parent is not file:
            continue
        for offset, count in zip(page.dataoffsets, page.databytecounts, strict=False):
            if count * DEFLATE > limit:
                check_inflated(_bytes_at(file.filehandle, offset, count), path, limit)


def only_in_parts(file: tifffile.TiffFile) -> bool:
    """Whether decoders of whole files can't read the open TIFF's picture, while rows of it can be read.

    They look at a file's first page alone, give up at tiles without any bytes, and don't know a JPEG cut in pieces.
    """
    series = picture_series(file)
    page = series.keyframe
    if is_plain(page):
        return False
    return len(series.pages) > 1 or page is not file.pages.first or 0 in page.databytecounts or _is_cut_jpeg(page)


def tiff_rows(path: Path, file: tifffile.TiffFile, limit: int, *, level: int = 0) -> TiffRows | ChannelRows | None:
    """The open TIFF's picture by ranges of rows; None where it can only be read whole.

    That is a stack, a turned picture, colours of which a row can't be told from the next, and whatever else isn't cut
    into tiles or strips in the usual way.

    Args:
        path: of the file.
        file: the open file.
        limit: bytes that a strip or tile may unpack to.
        level: of a pyramid, 0 for the finest.
    """
    series = picture_series(file).levels[level]
    page = series.keyframe
    pages = [part for part in series.pages if part is not None and part.parent is file]
    usual = page.imagedepth == 1 and len(pages) == len(series.pages)
    subsampled = page.compression == tifffile.COMPRESSION.NONE and page.photometric == tifffile.PHOTOMETRIC.YCBCR
    if not usual or other_pictures(file) or page.compression == OLD_JPEG or subsampled:
        return None
    if len(pages) == 1:
        return _page_rows(path, file, page, page, limit) if series.shape == page.shape else None
    if series.axes != "CYX" or series.shape != (len(pages), *page.shape):
        return None
    channels = [_page_rows(path, file, page, part, limit) for part in pages]
    return ChannelRows(tuple(rows for rows in channels if rows is not None)) if None not in channels else None


def _page_rows(
    path: Path,
    file: tifffile.TiffFile,
    page: tifffile.TiffPage,
    part: tifffile.TiffPage | tifffile.TiffFrame,
    limit: int,
) -> TiffRows | None:
    """A page's rows; ``page`` says how it is decoded, ``part`` where it is."""
    plain = page.compression == tifffile.COMPRESSION.NONE
    planes = page.samplesperpixel if page.planarconfig == tifffile.PLANARCONFIG.SEPARATE else 1
    step = page.tilelength if page.is_tiled else min(page.rowsperstrip, page.imagelength)
    across = ceil(page.imagewidth / page.tilewidth) if page.is_tiled else 1
    shape = (planes, ceil(page.imagelength / step), across)
    if len(part.dataoffsets) != np.prod(shape):
        return None
    offsets, counts = (np.array(list_, np.int64).reshape(shape) for list_ in (part.dataoffsets, part.databytecounts))
    donor = None
    if not is_plain(page) and not counts.all():
        if not page.is_tiled or planes > 1 or not counts.any():
            return None
        full = tuple(np.argwhere(counts)[0])
        donor = int(offsets[full]), int(counts[full])
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
        header=(page.jpegheader or b"") if _is_cut_jpeg(page) else b"",
        donor=donor,
        empty=255 if file.is_philips else 0,  # glass
    )


def _is_cut_jpeg(page: tifffile.TiffPage) -> bool:
    """Whether tiles are the pieces of one JPEG between its restart markers, as Hamamatsu's scanners write them."""
    return getattr(page, "jpegheader", None) is not None


def _inflates(page: tifffile.TiffPage | tifffile.TiffFrame) -> bool:
    return page.compression in (tifffile.COMPRESSION.ADOBE_DEFLATE, tifffile.COMPRESSION.DEFLATE)


def _bytes_at(file: BinaryIO | tifffile.FileHandle, offset: int, count: int) -> bytes:
    file.seek(offset)
    return file.read(count)
