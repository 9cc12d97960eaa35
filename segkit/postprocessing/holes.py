"""Holes: background that one class alone surrounds."""

from collections.abc import Callable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from segkit.postprocessing.pieces import Mask, Numbers, Seams, Strip, counting, leading, put_together, scan
from segkit.postprocessing.strips import Ids, strips

LAST = 255  # no class has it


def without_holes(labels: Ids, largest: Mapping[int, int | None], background: int) -> Iterator[Ids]:
    """Rows of labels [H, W] or [I, J, K], in which holes have the class around them.

    A hole is background whose pixels touch one another at their sides, that doesn't touch the border, and has no second
    class beside it.

    Args:
        labels: may be a file's; read twice.
        largest: how many pixels a hole may have that is filled, by the label of the class around it; None: any number.
        background: the label of it.
    """
    if not largest:
        yield from (np.array(labels[rows]) for rows in strips(labels.shape))
        return
    fill, sizes, first = _holes(labels, background)
    wanted = np.zeros(len(fill), np.bool_)
    for label, most in largest.items():
        wanted |= (fill == label) & (sizes <= (labels.size if most is None else most))
    fill[~wanted] = background
    fill = fill[first]
    for strip in scan(_background_of(labels, background), labels.shape, corners=False):
        rows = np.array(labels[strip.rows])
        np.copyto(rows, strip.of_pixels(fill, background), where=strip.ids > 0)
        yield rows


def hole_sizes(labels: Ids, label: int, background: int) -> Numbers:
    """Pixels of each hole of a class, [holes], in the order of their first pixels row by row."""
    fill, sizes, first = _holes(labels, background)
    found: Numbers = sizes[(fill == label) & leading(first)]
    return found


def _holes(labels: Ids, background: int) -> tuple[Ids, Numbers, Numbers]:
    """Of each piece of background: the class around its part, its pixels, and the part's first piece.

    The class is ``background`` where the part is no hole; it and the pixels stand at first pieces.
    """
    seams = Seams(corners=False)
    sizes, lowest, highest = [np.zeros(0, np.int32)], [np.zeros(0, np.uint8)], [np.zeros(0, np.uint8)]
    for strip in scan(_background_of(labels, background), labels.shape, corners=False):
        seams.add(strip)
        sizes.append(strip.sizes)
        low, high = _beside(labels, strip, background)
        lowest.append(low)
        highest.append(high)
    first = seams.first_pieces()
    fill = put_together(np.concatenate(lowest), first, np.minimum)
    fill[fill != put_together(np.concatenate(highest), first, np.maximum)] = background
    whole = put_together(np.concatenate(sizes, dtype=counting(labels.size)), first, np.add)
    return fill, whole, first


def _beside(labels: Ids, strip: Strip, background: int) -> tuple[Ids, Ids]:
    """The lowest and the highest label beside each piece of background; 0 and 255 where it touches the border."""
    top, bottom = strip.rows.start, strip.rows.stop
    above, below = int(top > 0), int(bottom < labels.shape[0])
    around = np.asarray(labels[top - above : bottom + below])
    own = around[above : above + bottom - top]
    low, high = np.full(strip.count + 1, LAST, np.uint8), np.zeros(strip.count + 1, np.uint8)

    def meet(ids: NDArray[np.int32], values: Ids) -> None:
        sides = (ids > 0) & (values != background)
        np.minimum.at(low, ids[sides], values[sides])
        np.maximum.at(high, ids[sides], values[sides])

    if above:
        meet(strip.ids[0], around[0])
    if below:
        meet(strip.ids[-1], around[-1])
    edges = [] if above else [strip.ids[0]]
    edges += [] if below else [strip.ids[-1]]
    for axis in range(labels.ndim):
        ids, values = np.moveaxis(strip.ids, axis, 0), np.moveaxis(own, axis, 0)
        meet(ids[1:], values[:-1])
        meet(ids[:-1], values[1:])
        edges += [ids[0], ids[-1]] if axis else []
    for edge in edges:
        low[edge], high[edge] = 0, LAST
    return low[1:], high[1:]


def _background_of(labels: Ids, background: int) -> Callable[[slice], Mask]:
    return lambda rows: np.asarray(labels[rows]) == background
