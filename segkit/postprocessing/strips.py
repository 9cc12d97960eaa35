"""Images by rows, so that whole ones need not be in memory; volumes by planes in the same way."""

from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from math import prod

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.uint8]
Keep = Callable[[Iterable[Ids], tuple[int, ...]], Ids]
"""Puts labels of a shape together that come from the top down: each [h, …], or of several maps [K, h, …]."""

PIXELS = 1 << 22  # looked at at a time


def strips(shape: tuple[int, ...], *, values: int = 1, least: int = 1) -> Iterator[slice]:
    """Rows along the first axis of [H, W] or [I, J, K], from the top down.

    Args:
        shape: of the whole.
        values: of each pixel; the more, the fewer rows.
        least: rows together.
    """
    rows = max(PIXELS // max(prod(shape[1:]) * values, 1), least)
    for first, last in pairwise([*range(0, shape[0], rows), shape[0]]):
        yield slice(first, last)


def in_memory(rows: Iterable[Ids], shape: tuple[int, ...], *, axis: int) -> Ids:
    """An array of what comes by rows, which follow one another along ``axis``."""
    whole = np.empty(shape, np.uint8)
    top = 0
    for strip in rows:
        bottom = top + strip.shape[axis]
        whole[(slice(None),) * axis + (slice(top, bottom),)] = strip
        top = bottom
    return whole
