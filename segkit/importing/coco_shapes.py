"""The pixels of an object that COCO's JSON outlines: by polygons, or by run lengths in either of their two forms.

The library pycocotools does the same, but its compiled code ends the process on a coordinate that is no number or a
very large one, and takes run lengths that cover a part of the picture only. Its polygons are drawn in steps of a fifth
of a pixel; these here by the rule itself, that a pixel belongs to what its centre lies in.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Inside = NDArray[np.bool_]
Number = TypeVar("Number", bound=np.generic)

FIRST, LAST = "0", "o"  # characters of compressed run lengths: six bits each, from "0" on
MOST_BITS = 60


@dataclass(frozen=True, eq=False)
class Patch:
    """An object in a picture: ``inside`` [h, w] from row ``top`` and column ``left`` on."""

    top: int
    left: int
    inside: Inside

    @property
    def area(self) -> int:
        """Its pixels."""
        return int(self.inside.sum())

    def of(self, picture: NDArray[Number]) -> NDArray[Number]:
        """A view of the part of a picture [H, W] that it covers."""
        height, width = self.inside.shape
        return picture[self.top : self.top + height, self.left : self.left + width]


def patch_of(inside: Inside) -> Patch:
    """The smallest patch with all pixels of a picture [H, W] that are inside."""
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    if not rows.size:
        return Patch(0, 0, inside[:0, :0])
    top, left = int(rows[0]), int(columns[0])
    return Patch(top, left, inside[top : rows[-1] + 1, left : columns[-1] + 1].copy())


def fill(polygons: Sequence[Sequence[float]], size: tuple[int, int]) -> Inside:
    """The pixels [H, W] whose centres lie in any of some polygons; within one, crossing lines cut holes.

    Args:
        polygons: x and y of the corners, one after the other; (0, 0) is the picture's corner, so that the centre of
            its first pixel is at (0.5, 0.5).
        size: H and W.

    Raises:
        ValueError: an odd number of coordinates.

    >>> fill([[0, 0, 3, 0, 3, 2, 0, 2]], (3, 4)).astype(int)
    array([[1, 1, 1, 0],
           [1, 1, 1, 0],
           [0, 0, 0, 0]])
    """
    inside = np.zeros(size, dtype=np.bool_)
    for polygon in polygons:
        if len(polygon) % 2:
            raise ValueError(f"a polygon has {len(polygon)} coordinates; expected pairs of x and y")
        if len(polygon) >= 6:  # fewer than three corners enclose nothing
            _fill_one(np.asarray(polygon, dtype=np.float64).reshape(-1, 2), inside)
    return inside


def _fill_one(corners: NDArray[np.float64], inside: Inside) -> None:
    """Add what one polygon encloses; only the pixels around it are looked at."""
    top, left = (int(low) for low in np.clip(np.floor(corners.min(axis=0)), 0, inside.shape[::-1])[::-1])
    bottom, right = (int(high) for high in np.clip(np.ceil(corners.max(axis=0)), 0, inside.shape[::-1])[::-1])
    height, width = bottom - top, right - left
    x, y = (corners - (left, top)).T
    next_x, next_y = np.roll(x, -1), np.roll(y, -1)
    # Rows whose centres each edge passes: from the first at or below its upper end to the last above its lower end.
    first = np.ceil(np.clip(np.minimum(y, next_y) - 0.5, 0, height)).astype(np.int64)
    end = np.ceil(np.clip(np.maximum(y, next_y) - 0.5, 0, height)).astype(np.int64)
    count = end - first
    edge = np.repeat(np.arange(len(x)), count)
    rows = np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count) + first[edge]
    share = (rows + 0.5 - y[edge]) / (next_y - y)[edge]
    crossing = x[edge] + share * (next_x - x)[edge]
    columns = np.ceil(np.clip(crossing - 0.5, 0, width)).astype(np.int64)  # the first centre at or behind the edge
    crossed = np.bincount(rows * (width + 1) + columns, minlength=height * (width + 1)).reshape(height, width + 1)
    inside[top:bottom, left:right] |= np.cumsum(crossed, axis=1, dtype=np.uint8)[:, :width] % 2 == 1


def from_runs(runs: Sequence[int], size: tuple[int, int]) -> Inside:
    """The pixels [H, W] of run lengths: outside and inside by turns, down the columns.

    Raises:
        ValueError: they don't cover the picture exactly.

    >>> from_runs([1, 2, 3], (2, 3)).astype(int)
    array([[0, 1, 0],
           [1, 0, 0]])
    """
    height, width = size
    if min(runs, default=0) < 0 or sum(runs) != height * width:
        raise ValueError(f"run lengths of {sum(runs):,} pixels; the picture has {height * width:,}")
    values = np.arange(len(runs)) % 2 == 1
    return np.repeat(values, runs).reshape(width, height).T


def unpacked(text: str) -> list[int]:
    """Run lengths from COCO's compressed form: five bits a character, from the fourth on less the last but one.

    Raises:
        ValueError: a character that can't be in it, or the last number has no end.
    """
    runs: list[int] = []
    value = bits = 0
    for character in text:
        if not FIRST <= character <= LAST:
            raise ValueError(f"compressed run lengths hold {character!r}")
        six = ord(character) - ord(FIRST)
        value |= (six & 31) << bits
        bits += 5
        if six & 32 and bits < MOST_BITS:  # more follows
            continue
        if six & 32:
            raise ValueError("compressed run lengths hold a number that no picture has pixels for")
        if six & 16:  # negative
            value -= 1 << bits
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = bits = 0
    if bits:
        raise ValueError("compressed run lengths are cut short")
    return runs
