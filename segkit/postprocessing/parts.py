"""Connected parts of a class: the largest alone kept, small ones removed."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import prod

import numpy as np

from segkit.postprocessing.pieces import Mask, Numbers, Seams, counting, leading, put_together, scan
from segkit.postprocessing.strips import Ids, strips


@dataclass(frozen=True)
class Rule:
    """Which parts of a class are kept.

    Attributes:
        largest: the largest alone; of equal ones the first, row by row.
        fewest: and of that, or of all, those with at least so many pixels.
    """

    largest: bool = False
    fewest: int = 1


def without_parts(labels: Ids, rules: Mapping[int, Rule], background: int) -> Iterator[Ids]:
    """Rows of labels [H, W] or [I, J, K], in which parts that aren't kept are background.

    Args:
        labels: may be a file's; read twice.
        rules: of the classes, by their label.
        background: the label of it.
    """
    masks = {label: _mask_of(labels, label) for label in rules}
    kept = {label: _kept(masks[label], labels.shape, rule) for label, rule in rules.items()}
    scans = {label: scan(mask, labels.shape, corners=True) for label, mask in masks.items()}
    for rows in strips(labels.shape):
        found = np.array(labels[rows])
        for label, strips_of_class in scans.items():
            found[~next(strips_of_class).of_pixels(kept[label], True)] = background
        yield found


def part_sizes(labels: Ids, label: int) -> Numbers:
    """Pixels of each part of a class, [parts], in the order of their first pixels row by row."""
    sizes, first = _sizes(_mask_of(labels, label), labels.shape)
    return sizes[leading(first)]


def _kept(mask: Callable[[slice], Mask], shape: tuple[int, ...], rule: Rule) -> Mask:
    """Of each piece whether its part is kept."""
    sizes, first = _sizes(mask, shape)
    keep: Mask = sizes >= rule.fewest
    if rule.largest and len(sizes):
        sizes[~leading(first)] = 0
        largest = int(np.argmax(sizes))
        enough = keep[largest]
        keep[:] = False
        keep[largest] = enough
    return keep[first]


def _sizes(mask: Callable[[slice], Mask], shape: tuple[int, ...]) -> tuple[Numbers, Numbers]:
    """Sizes of parts, at their first pieces, and each piece's first one."""
    seams, sizes = Seams(corners=True), [np.zeros(0, np.int32)]
    for strip in scan(mask, shape, corners=True):
        seams.add(strip)
        sizes.append(strip.sizes)
    first = seams.first_pieces()
    return put_together(np.concatenate(sizes, dtype=counting(prod(shape))), first, np.add), first


def _mask_of(labels: Ids, label: int) -> Callable[[slice], Mask]:
    return lambda rows: np.asarray(labels[rows]) == label
