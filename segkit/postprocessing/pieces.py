"""Connected parts of a mask that is looked at some rows at a time."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from segkit.postprocessing.strips import strips

Mask = NDArray[np.bool_]
Numbers = NDArray[np.integer]
AnyNumber = TypeVar("AnyNumber", bound=np.generic)


@dataclass(frozen=True)
class Strip:
    """Some rows of a mask, and the pieces of its parts that lie in them.

    Attributes:
        rows: which.
        ids: 1, 2, … for the pieces' pixels, in the order of their first ones row by row, and 0 elsewhere, int32.
        count: how many pieces.
        before: how many are in the rows above.
    """

    rows: slice
    ids: NDArray[np.int32]
    count: int
    before: int

    def of_pixels(self, table: NDArray[AnyNumber], elsewhere: int) -> NDArray[AnyNumber]:
        """What a table has for each pixel's piece, and something else for pixels of none."""
        here = np.empty(self.count + 1, table.dtype)
        here[0] = elsewhere
        here[1:] = table[self.before : self.before + self.count]
        return here[self.ids]

    @property
    def sizes(self) -> NDArray[np.int32]:
        """Pixels of each piece."""
        return np.bincount(self.ids.ravel(), minlength=self.count + 1)[1:].astype(np.int32)


def scan(mask: Callable[[slice], Mask], shape: tuple[int, ...], *, corners: bool) -> Iterator[Strip]:
    """The pieces of a mask [H, W] or [I, J, K], rows by rows; the same ones in the same order each time.

    Args:
        mask: gives rows of it.
        shape: of the whole.
        corners: whether pixels that touch at a corner or an edge belong together, too.
    """
    near = ndimage.generate_binary_structure(len(shape), len(shape) if corners else 1)
    before = 0
    for rows in strips(shape):
        ids, count = ndimage.label(mask(rows), near)
        yield Strip(rows, ids, count, before)
        before += count


class Seams:
    """Finds which pieces are of one part, by where one strip meets the next.

    Args:
        corners: as for :func:`scan`.
    """

    def __init__(self, *, corners: bool) -> None:
        self._reach = (-1, 0, 1) if corners else (0,)
        self._edge: Numbers | None = None
        self._pairs: list[Numbers] = []
        self._total = 0

    def add(self, strip: Strip) -> None:
        """Take the next strip."""
        top, bottom = (np.where(row > 0, row + np.int64(strip.before), 0) for row in (strip.ids[0], strip.ids[-1]))
        if self._edge is not None:
            self._pairs.append(self._meeting(self._edge, top))
        self._edge = bottom
        self._total = strip.before + strip.count

    def first_pieces(self) -> Numbers:
        """For each piece the first one of the same part, whole [pieces]; it holds the part's first pixel row by row."""
        first: Numbers = np.arange(self._total, dtype=counting(self._total))
        pairs = np.concatenate([np.zeros((2, 0), np.int64), *self._pairs], axis=1) - 1
        if not pairs.size:
            return first
        met, ends = np.unique(pairs, return_inverse=True)  # only pieces at seams, which are few
        start, end = ends.reshape(pairs.shape)
        graph = coo_array((np.ones(len(start), np.bool_), (start, end)), shape=(len(met), len(met)))
        _, part = connected_components(graph, directed=False)
        _, smallest = np.unique(part, return_index=True)  # the first of each part, since ``met`` rises
        first[met] = met[smallest[part]]
        return first

    def _meeting(self, above: Numbers, below: Numbers) -> Numbers:
        """Numbers, from 1, of pieces that touch across a seam, [2, pairs]."""
        found = []
        for shift in product(self._reach, repeat=above.ndim):
            here = tuple(
                slice(max(step, 0), size + min(step, 0)) for step, size in zip(shift, above.shape, strict=True)
            )
            there = tuple(
                slice(max(-step, 0), size - max(step, 0)) for step, size in zip(shift, above.shape, strict=True)
            )
            upper, lower = above[here], below[there]
            both = (upper > 0) & (lower > 0)
            found.append(np.stack([upper[both], lower[both]]))
        return np.unique(np.concatenate(found, axis=1), axis=1)


def leading(first: Numbers) -> Mask:
    """Of each piece whether it is the first one of its part."""
    found: Mask = first == np.arange(len(first), dtype=first.dtype)
    return found


def put_together(values: NDArray[AnyNumber], first: Numbers, by: np.ufunc) -> NDArray[AnyNumber]:
    """``values`` of pieces, changed to those of their parts at the first pieces; at the others they mean nothing."""
    further = np.flatnonzero(~leading(first))
    by.at(values, first[further], values[further])
    return values


def counting(most: int) -> type[np.integer]:
    """The type for whole numbers up to ``most``: there may be a hundred million of them."""
    return np.int32 if most < 1 << 31 else np.int64
