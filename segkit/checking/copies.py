"""Which pictures are nearly the same, whatever their size, brightness, compression and orientation.

A picture's look is 16 × 16 numbers: the picture shrunk to that, each number's difference from its surroundings by the
surroundings' contrast. Brightness and compression hardly change it. Pictures of one kind have much in common (the
round field of a fundus camera, a tray under a fixed camera), so looks are compared after that is taken away.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Grid = NDArray[np.float32]
Looks = NDArray[np.float32]

SIDE = 16
AROUND = 5  # side of the surroundings
FLOOR = 0.3  # of the picture's contrast; less than that around a place counts as that
LIKELY = 0.85  # correlation from which a pair is looked at
SAME = 0.93  # correlation, without what the dataset has in common, from which it is a copy
MANY = 32  # pictures; from as many on, one picture hardly moves the mean
ROWS, COLUMNS, PAIRS = 2048, 8192, 4096  # compared at a time


@dataclass(frozen=True)
class Copy:
    """Two pictures, by their places in the list, that are nearly the same."""

    first: int
    second: int
    correlation: float


def look(picture: Grid) -> Grid:
    """Return a picture's look, float32 [16, 16], from its grey values [H, W]; 0 everywhere where there is none."""
    small = cv2.resize(picture, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    window = (AROUND, AROUND)
    difference = small - cv2.blur(small, window, borderType=cv2.BORDER_REFLECT)
    contrast = np.sqrt(cv2.blur(difference * difference, window, borderType=cv2.BORDER_REFLECT))
    floor = FLOOR * float(small.std())
    if floor <= 1e-6 * max(1.0, float(np.abs(small).max())):
        return np.zeros_like(small)
    found = np.asarray(difference / (contrast + floor), dtype=np.float32)
    return found if np.isfinite(found).all() else np.zeros_like(found)  # of values whose squares no float32 holds


def near_copies(looks: Looks, groups: Sequence[int]) -> Iterator[Copy]:
    """The pairs of pictures from different groups that are nearly the same, as they lie or mirrored and turned.

    One after the other: of frames of a camera that stands still, all are like all.

    Args:
        looks: [N, 16, 16].
        groups: of each picture, for example its split.
    """
    seen = np.flatnonzero(looks.any(axis=(1, 2)))
    group, total = np.asarray(groups), looks.sum(axis=0)
    common = total / len(looks) if len(looks) >= MANY else np.zeros_like(total)
    names = sorted(set(groups))
    for i, first in enumerate(names):
        rows = seen[group[seen] == first]
        columns = seen[np.isin(group[seen], names[i + 1 :])]
        for a in range(0, len(rows), ROWS):
            for b in range(0, len(columns), COLUMNS):
                yield from _pairs(looks, rows[a : a + ROWS], columns[b : b + COLUMNS], total, common)


def _pairs(
    looks: Looks, rows: NDArray[np.intp], columns: NDArray[np.intp], total: Grid, common: Grid
) -> Iterator[Copy]:
    """Copies between two lists of pictures, each pair once, in the orientation that fits best."""
    best = np.full((len(rows), len(columns)), -1, dtype=np.float32)
    mine = _units(looks[rows] - common)
    for turn in range(8):
        likely = mine @ _units(_turned(looks[columns], turn) - common).T
        a, b = np.nonzero(likely > LIKELY)
        for start in range(0, len(a), PAIRS):
            row, column = a[start : start + PAIRS], b[start : start + PAIRS]
            first, second = looks[rows[row]], looks[columns[column]]
            # What the other pictures have in common: with the two themselves in it, a copy would take itself away.
            others = (total - first - second) / np.float32(len(looks) - 2) if len(looks) > 2 else np.zeros_like(first)
            both = (_units(first - others) * _units(_turned(second, turn) - others)).sum(axis=1)
            np.maximum.at(best, (row, column), both)
    for row, column in zip(*np.nonzero(best >= SAME), strict=True):
        yield Copy(int(rows[row]), int(columns[column]), float(best[row, column]))


def _turned(looks: Looks, turn: int) -> Looks:
    """Looks [N, 16, 16] in one of the eight orientations."""
    return np.rot90(looks[:, :, ::-1] if turn >= 4 else looks, turn % 4, (1, 2))


def _units(looks: Looks) -> Looks:
    """Looks as vectors [N, 256] of length 1 (0 where there is nothing)."""
    flat = looks.reshape(len(looks), -1)
    return np.asarray(flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6), dtype=np.float32)
