"""A picture file that can be read row by row, so that its size is no matter of memory."""

import copy
from dataclasses import replace
from math import isfinite
from pathlib import Path
from typing import Protocol

import numpy as np
import tifffile

from segkit.data.claims import LIMIT, check_claim, claim_of_tiff
from segkit.data.decoding import is_tiff, tiff_orientation
from segkit.data.reader import Pixels, read_pixels
from segkit.data.tiff_rows import AT_ONCE, ChannelRows, TiffRows, tiff_rows
from segkit.errors import DataError, UsageError
from segkit.one_line import one_line

Resolution = tuple[float, float]
"""Microns from one pixel to the next: down, and across."""


class Rows(Protocol):
    """Pixels [height, W, C] in ranges of rows."""

    @property
    def height(self) -> int:
        """In pixels."""
        ...

    def rows(self, top: int, bottom: int) -> Pixels:
        """Pixels [bottom - top, W, C]."""
        ...


class Picture:
    """Pixels [H, W, C] of a file, as :func:`segkit.data.reader.read_pixels` gives them, in ranges of rows.

    Attributes:
        path: the file; None for pixels that came without one.
        shape: H, W and C.
        dtype: uint8, uint16 or float32.
        mpp: microns from one pixel to the next, down and across; None where nobody knows.
        notes: what was decided on opening it that a user should know.
    """

    def __init__(
        self, path: Path | None, pixels: Pixels | Rows, *, mpp: Resolution | None = None, notes: tuple[str, ...] = ()
    ) -> None:
        self.path, self.mpp, self.notes = path, mpp, notes
        self._pixels = pixels
        height = len(pixels) if isinstance(pixels, np.ndarray) else pixels.height
        first = self.rows(0, 1)
        self.shape: tuple[int, int, int] = (height, *first.shape[1:])
        self.dtype: np.dtype[np.generic] = first.dtype

    def rows(self, top: int, bottom: int) -> Pixels:
        """Rows from ``top`` up to, but not including, ``bottom``: [bottom - top, W, C].

        Raises:
            DataError: rows of a file that is read in parts can't be decoded, or hold values that are not finite.
        """
        if isinstance(self._pixels, np.ndarray):
            return self._pixels[top:bottom]
        try:
            pixels = self._pixels.rows(top, bottom)
        except DataError:
            raise
        except Exception as error:  # decoders raise what they like
            raise DataError(f"{self.path}: can't be decoded as a picture ({one_line(error)})") from error
        if not np.isfinite(pixels).all():
            raise DataError(f"{self.path}: holds values that are not finite (NaN or infinity)")
        return pixels

    def whole(self, *, limit: int = LIMIT) -> Pixels:
        """All rows at once; DataError where they take more than ``limit`` bytes."""
        height, width, channels = self.shape
        size = height * width * channels * self.dtype.itemsize
        if size > limit:
            raise DataError(
                f"{self.path}: {height:,} × {width:,} pixels take {size / 2**30:,.1f} GiB, more than the limit of "
                f"{limit / 2**30:,.1f} GiB; cut it into smaller ones"
            )
        return self.rows(0, height)

    def with_note(self, note: str) -> "Picture":
        """The same picture with one more note."""
        noted = copy.copy(self)
        noted.notes = (*self.notes, note)
        return noted

    def at(self, mpp: float) -> "Picture":
        """The same picture, said to have so many microns per pixel."""
        told = copy.copy(self)
        told.mpp = (mpp, mpp)
        return told


def open_picture(
    path: str | Path, *, limit: int = LIMIT, mpp: float | None = None, own: float | None = None
) -> Picture:
    """A picture ready to be read by rows: a large TIFF in tiles or strips part by part, all else decoded at once.

    Args:
        path: a PNG, JPEG, TIFF, BMP or WebP file, or a slide.
        limit: bytes that may be decoded at once.
        mpp: microns per pixel that the picture is wanted at: of a slide the coarsest level that is as fine is read,
            and brought there, see :func:`segkit.medical.slide_resampling.brought_to`. A picture of unknown resolution
            is taken as it is. None: full resolution.
        own: microns per pixel that the picture has at full resolution, whatever the file says.

    Raises:
        DataError: as :func:`segkit.data.reader.read_pixels`, except that damage to a TIFF read in parts is found when
            the part is read; or the picture is far coarser than it is wanted.
        UsageError: a resolution that is none.
    """
    path = Path(path)
    own, mpp = checked_mpp(own), checked_mpp(mpp)
    picture = None
    if begins_as_tiff(path):
        from segkit.medical.slide import open_slide

        picture = open_slide(path, mpp=mpp, limit=limit, own=own)
    if picture is None:
        known = None if own is None else (own, own)
        picture = Picture(path, read_pixels(path, limit=limit), mpp=known)
    if mpp is None:
        return picture
    from segkit.medical.slide_resampling import brought_to

    return brought_to(picture, mpp)


def checked_mpp(mpp: float | None) -> float | None:
    """The same; UsageError where it is no number of microns per pixel."""
    number = isinstance(mpp, int | float) and not isinstance(mpp, bool)
    if mpp is None or (number and isfinite(mpp) and mpp > 0):
        return mpp
    raise UsageError(f"mpp={mpp!r}: expected microns per pixel, above 0")


def begins_as_tiff(path: Path) -> bool:
    """Whether a file begins as a TIFF does, whatever its name says."""
    try:
        with path.open("rb") as file:
            return is_tiff(file.read(4))
    except OSError:  # who reads it says why
        return False


def tiff_parts(path: Path, limit: int, level: int = 0) -> TiffRows | ChannelRows | None:
    """The rows of a TIFF, or of a level of its pyramid; None for what isn't read in parts.

    That is a file of another kind, a picture that is small, or that can only be decoded at once.

    Raises:
        DataError: a row of its tiles or strips takes more than ``limit`` bytes, or the file is too short for them.
    """
    try:
        with tifffile.TiffFile(path) as file:
            claim = claim_of_tiff(file, level=level)
            if (claim.decoded <= AT_ONCE and not level) or tiff_orientation(file) != 1:
                return None
            parts = tiff_rows(path, file, limit, level=level)
    except Exception:  # read_pixels says what is wrong
        return None
    if parts is None or parts.step_bytes > limit:
        return None
    check_claim(replace(claim, decoded=parts.step_bytes), path.stat().st_size, path, limit)
    return parts
