"""A mask as stretches along its lines, and the components these make: what a mask of any size can be measured by."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

# Lines next to a line, the later ones: a line of a picture has one of them, a line [i, j] of a volume four.
NEXT_LINES = {2: ((0, 1),), 3: ((0, 1), (1, -1), (1, 0), (1, 1))}


@dataclass(frozen=True, eq=False)
class Stretches:
    """The pixels of one label, as the longest stretches of it along the last axis, in the order of the array.

    Attributes:
        shape: of the array, [H, W] or [I, J, K].
        line: which line each is in, int64 [N]: the index over all axes but the last, flattened.
        first, last: its first and its last place in that line, int64 [N].
    """

    shape: tuple[int, ...]
    line: NDArray[np.int64]
    first: NDArray[np.int64]
    last: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.line)

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Pixels of each, int64 [N]."""
        return self.last - self.first + 1

    def of(self, chosen: NDArray[np.bool_]) -> "Stretches":
        """Those that are chosen, [N]."""
        return Stretches(self.shape, self.line[chosen], self.first[chosen], self.last[chosen])

    def ends(self) -> NDArray[np.int64]:
        """Indices of the first pixel of each, and then of the last of each: int64 [2, N, dimensions].

        They have the convex hull of all pixels, because a stretch is straight.
        """
        lines = np.stack(np.unravel_index(self.line, self.shape[:-1]), axis=-1)
        return np.stack([np.column_stack([lines, places]) for places in (self.first, self.last)])

    def components(self) -> tuple[int, NDArray[np.int32]]:
        """How many components there are, and which one each stretch is of, int32 [N].

        Pixels that touch by a side, an edge or a corner are of one component: a pixel has 8 neighbours, a voxel 26.
        """
        pairs = [np.concatenate(each) for each in zip(*self._touching(), strict=True)]
        links = coo_array((np.ones(len(pairs[0]), np.int8), (pairs[0], pairs[1])), shape=(len(self), len(self)))
        count, which = connected_components(links, directed=False)
        return int(count), which

    def _touching(self) -> Iterator[tuple[NDArray[np.int32], NDArray[np.int32]]]:
        """Pairs of stretches in neighbouring lines that touch, as their numbers."""
        across = self.shape[-2]  # lines from one plane to the next; a picture is a single plane
        apart = self.shape[-1] + 2  # so that no place beside a line is one of another line
        begins, ends = self.line * apart + self.first, self.line * apart + self.last
        numbers = np.arange(len(self), dtype=np.int32)
        for outer, inner in NEXT_LINES[len(self.shape)]:
            step = (outer * across + inner) * apart
            low = np.searchsorted(ends, begins + step - 1, "left")
            high = np.searchsorted(begins, ends + step + 1, "right")
            beside = self.line % across + inner
            counts = np.where((beside >= 0) & (beside < across), high - low, 0)
            within = np.arange(counts.sum()) - np.repeat(counts.cumsum() - counts, counts)
            yield np.repeat(numbers, counts), (np.repeat(low, counts) + within).astype(np.int32)


def stretches_in(part: NDArray[np.uint8], top: int, shape: tuple[int, ...]) -> tuple[NDArray[np.uint8], Stretches]:
    """The stretches of all labels in a part of an array, and the label of each.

    Args:
        part: contiguous indices along the first axis, all along the others.
        top: the index of the first.
        shape: of the whole array.
    """
    width = shape[-1]
    lines = np.ascontiguousarray(part).reshape(-1, width)
    begins = np.ones(lines.shape, np.bool_)
    np.not_equal(lines[:, 1:], lines[:, :-1], out=begins[:, 1:])
    first = np.flatnonzero(begins)
    last = np.append(first[1:], lines.size) - 1  # each line begins a stretch, so the one before ends with its line
    line, place = np.divmod(first, width)
    before = top * int(np.prod(shape[1:-1], dtype=np.int64))
    return lines.reshape(-1)[first], Stretches(shape, line + before, place, last - line * width)
