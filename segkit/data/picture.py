"""A picture file that can be read row by row, so that its size is no matter of memory."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import tifffile

from segkit.data.claims import LIMIT, check_claim, claim_of_tiff
from segkit.data.decoding import is_tiff, one_line, tiff_orientation
from segkit.data.reader import Pixels, read_pixels
from segkit.data.tiff_rows import AT_ONCE, TiffRows, tiff_rows
from segkit.errors import DataError


class Picture:
    """Pixels [H, W, C] of a file, as :func:`segkit.data.reader.read_pixels` gives them, in ranges of rows.

    Attributes:
        path: the file.
        shape: H, W and C.
        dtype: uint8, uint16 or float32.
    """

    def __init__(self, path: Path, pixels: Pixels | TiffRows) -> None:
        self.path = path
        self._pixels = pixels
        height = pixels.height if isinstance(pixels, TiffRows) else len(pixels)
        first = self.rows(0, 1)
        self.shape: tuple[int, int, int] = (height, *first.shape[1:])
        self.dtype: np.dtype[np.generic] = first.dtype

    def rows(self, top: int, bottom: int) -> Pixels:
        """Rows from ``top`` up to, but not including, ``bottom``: [bottom - top, W, C].

        Raises:
            DataError: rows of a file that is read in parts can't be decoded, or hold values that are not finite.
        """
        if not isinstance(self._pixels, TiffRows):
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


def open_picture(path: str | Path, *, limit: int = LIMIT) -> Picture:
    """A picture ready to be read by rows: a large TIFF in tiles or strips part by part, all else decoded at once.

    Args:
        path: a PNG, JPEG, TIFF, BMP or WebP file.
        limit: bytes that may be decoded at once.

    Raises:
        DataError: as :func:`segkit.data.reader.read_pixels`, except that damage to a TIFF read in parts is found when
            the part is read.
    """
    path = Path(path)
    parts = _parts(path, limit)
    return Picture(path, read_pixels(path, limit=limit) if parts is None else parts)


def _parts(path: Path, limit: int) -> TiffRows | None:
    """None where the file is no TIFF, is small, or can only be decoded at once."""
    try:
        with path.open("rb") as file:
            if not is_tiff(file.read(4)):
                return None
        with tifffile.TiffFile(path) as file:
            claim = claim_of_tiff(file)
            if claim.decoded <= AT_ONCE or tiff_orientation(file) != 1:
                return None
            parts = tiff_rows(path, file, limit)
    except Exception:  # read_pixels says what is wrong
        return None
    if parts is None or parts.step_bytes > limit:
        return None
    check_claim(replace(claim, decoded=parts.step_bytes), path.stat().st_size, path, limit)
    return parts
