"""Which labelled images are trained on, validated on and tested on, where a dataset doesn't say: by class and hash."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from segkit.data.splits import draw_splits, hashed_groups
from segkit.labelled.images import SPLITS, UNLABELLED, LabelledImages
from segkit.nearest import nearest

NAMED = 5
"""Classes that are named one by one where something is said of each."""
HELD_OUT = 0.1
"""Share of each class's training images that are validated on where there is no such split."""


def drawn_splits(names: Sequence[str], labels: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
    """Of each class 70 % train, 15 % val and 15 % test by a hash of the names; images without label in their own."""
    found: dict[str, list[int]] = {split: [] for split in SPLITS}
    for members in _by_class(names, labels, np.arange(len(names))):
        for split, chosen in draw_splits(members, {}).items():
            found[split] += [members[name] for name in chosen]
    return with_unlabelled(
        {split: np.sort(np.array(chosen, dtype=np.int64)) for split, chosen in found.items()}, labels
    )


def with_unlabelled(splits: dict[str, NDArray[np.int64]], labels: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
    """The splits that are not empty, without the images that have no label; these in a split of their own."""
    kept = {split: indices[labels[indices] >= 0] for split, indices in splits.items()}
    return {split: found for split, found in {**kept, UNLABELLED: np.flatnonzero(labels < 0)}.items() if len(found)}


def with_validation(images: LabelledImages) -> LabelledImages:
    """The same with a tenth of each class's training images as ``val``, by a hash of their names, where there is none.

    A class of one training image keeps it.
    """
    if "val" in images.splits or "train" not in images.splits:
        return images
    train, held_out = images.splits["train"], []
    for members in _by_class(images.names, images.labels, train):
        order = [members[name] for (name,) in hashed_groups(members, {})]
        held_out += order[: max(1, round(HELD_OUT * len(order)))] if len(order) > 1 else []
    if not held_out:
        return images
    val = np.sort(np.array(held_out, dtype=np.int64))
    splits = {"train": np.setdiff1d(train, val), "val": val}
    note = (
        f"no val split: {len(val):,} of the {len(train):,} training images are held out as one "
        f"({HELD_OUT:.0%} of each class, by a hash of the name)"
    )
    rest = {split: found for split, found in images.splits.items() if split != "train"}
    return replace(images, splits={**splits, **rest}, notes=(*images.notes, note))


def unlearned(order: Sequence[str], labels: NDArray[np.int64], parts: Mapping[str, NDArray[np.int64]]) -> list[str]:
    """What is to be said of classes that no training image is of; of many in one note."""
    if "train" not in parts:
        return []
    learned = [order[label] for label in np.unique(labels[parts["train"]])]
    known = set(learned)
    without = [name for name in order if name not in known]
    if len(without) > NAMED:
        some = ", ".join(map(repr, without[:NAMED]))
        return [f"no training image of {len(without):,} of {len(order):,} classes: {some}, …"]
    return [f"no training image of class {name!r}{_like(name, learned)}" for name in without]


def _like(name: str, others: Sequence[str]) -> str:
    """A hint at a class that may be meant; numbers that look alike mean nothing."""
    hint = "" if name.isdigit() else nearest(name, others)
    return hint if "did you mean" in hint else ""


def _by_class(names: Sequence[str], labels: NDArray[np.int64], chosen: NDArray[np.int64]) -> list[dict[str, int]]:
    """The names of each class's images among those chosen, and their indices."""
    found: dict[int, dict[str, int]] = {}
    for index in chosen.tolist():
        if labels[index] >= 0:
            found.setdefault(int(labels[index]), {})[names[index]] = index
    return [found[label] for label in sorted(found)]


def shared(real: Sequence[str], parts: Mapping[str, NDArray[np.int64]], *, how: str) -> list[str]:
    """What is to be said of files, by their places without links, that are in two splits; ``how`` they can be."""
    notes, names = [], [split for split in SPLITS if split in parts]
    files = {split: {real[index] for index in parts[split]} for split in names}
    for number, first in enumerate(names):
        for second in names[number + 1 :]:
            both = files[first] & files[second]
            if both:
                notes.append(
                    f"{len(both):,} images are in both {first} and {second} ({min(both)}, {how}): scores will look "
                    "better than they are"
                )
    return notes
