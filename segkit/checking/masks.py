"""What is wrong with the masks of a dataset: their values, their classes and how they lie."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segkit.checking.alignment import Judgement, shift_in_words
from segkit.checking.examine import Facts
from segkit.checking.findings import Finding, Place, finding
from segkit.checking.mask_facts import MaskFacts
from segkit.checking.survey import Survey, reason
from segkit.data.coding import BY_NAME, MIXED, Coding, background_of, check_named, decide_coding
from segkit.data.masks import IGNORE, NO_CLASS, looks_interpolated, shown_values, strange_values
from segkit.data.splits import purpose
from segkit.data.suffixes import DICOM, suffix_of
from segkit.errors import DataError

MEANT = 0.9  # share of a lossy mask's pixels near 0 and 255 from which it is a mask of 0 and 255


def decide(seen: Survey, facts: Sequence[Facts]) -> tuple[Coding | None, list[Finding]]:
    """Return what the masks' values mean as the dataset would be read, and what is to be said of that.

    None where their values can't be class ids, or what is said of the classes is broken.
    """
    if not seen.coded:
        return None, []
    masks = [mask for one in facts for mask in one.masks if not mask.colour]
    if not masks:
        return None, []
    whole = [BY_NAME if suffix_of(mask.file) == DICOM else mask.values for mask in masks if not mask.lossy]
    if not whole:  # what lossy masks were before
        whole = [_unblurred(mask) for mask in masks]
    plain = [values for values in whole if set(values.tolist()) <= {0, IGNORE}]
    binary = all(set(values.tolist()) <= {0, 1, IGNORE} for values in whole)
    if not seen.description.classes and not binary and 2 * len(plain) > len(whole):
        whole = plain  # the others, smoothed or of something else, are told by their names
    try:
        check_named((mask.file for mask in masks), seen.description, seen.path / "masks")
        coding = decide_coding(whole, seen.description, seen.path / "masks")
    except DataError as error:
        return None, finding("coding", [Place("masks/", reason(error, seen.path / "masks"))])
    return coding, finding("decided", [Place("masks", note) for note in coding.notes if note != MIXED])


def _unblurred(mask: MaskFacts) -> NDArray[np.intp]:
    """The values that a lossy mask probably had: 0 and 255 where nearly all are near those, otherwise all it has."""
    near = (mask.values < 32) | (mask.values > 223)
    if mask.values.max(initial=0) > 223 and mask.counts[near].sum() >= MEANT * mask.counts.sum():
        return np.array([0, IGNORE])
    return mask.values


def check_masks(seen: Survey, facts: Sequence[Facts], coding: Coding | None) -> list[Finding]:
    """Return what is odd about the masks as files, and about their values."""
    masks = [mask for one in facts for mask in one.masks]
    found = [
        *finding("lossy", [seen.place(mask.file) for mask in masks if mask.lossy]),
        *finding("colour", [seen.place(mask.file) for mask in masks if mask.colour]),
        *finding("wide_masks", [seen.place(mask.file) for mask in masks if mask.wide]),
        *finding("alpha", [seen.place(mask.file) for mask in masks if mask.alpha]),
    ]
    if coding is None:
        return found
    interpolated: list[Place] = []
    unknown: list[Place] = []
    mixed: list[Place] = []
    # Whether 255 is ignored without having been named; of two classes, in a mask of 0 and 255, it may be a slip.
    two = seen.description.task == "multilabel" or len(coding.classes) == 2
    ignored = seen.description.ignore_index
    unnamed = two and coding.table[IGNORE] == IGNORE and ignored != IGNORE
    for mask in masks:
        if mask.lossy or mask.colour:
            continue
        if seen.description.palette:
            shown = ", ".join(f"#{colour:06x}" for colour in mask.strange[:3])
            more = f" and {len(mask.strange) - 3} more" if len(mask.strange) > 3 else ""
            if mask.strange.size:
                (interpolated if len(mask.strange) > 3 else unknown).append(seen.place(mask.file, shown + more))
            continue
        strange = strange_values(mask.values, coding.table)
        if strange:
            blurred = looks_interpolated(mask.values, strange) and max(mask.values) <= 255
            (interpolated if blurred else unknown).append(
                seen.place(mask.file, f"values {shown_values(mask.values)}, {_meant(seen, coding)}")
            )
        elif unnamed and IGNORE in mask.values and set(mask.values.tolist()) <= {0, IGNORE, ignored}:
            mixed.append(seen.place(mask.file))
    return [
        *found,
        *finding("interpolated", interpolated),
        *finding("unknown_ids", unknown),
        *finding("mixed_coding", mixed),
    ]


def _meant(seen: Survey, coding: Coding) -> str:
    if coding.table[IGNORE] != IGNORE:
        return "not 0 and 255"
    ids = 2 if seen.description.task == "multilabel" else len(coding.classes)
    return f"classes are 0..{ids - 1}"


@dataclass(frozen=True)
class Shares:
    """How many pixels each class has in each split.

    Attributes:
        classes: their names.
        pixels: of each split, [K] pixels inside the region of interest.
        ignored: pixels of each split that don't count there.
    """

    classes: tuple[str, ...]
    pixels: dict[str, NDArray[np.int64]]
    ignored: dict[str, int]


def shares(seen: Survey, facts: Sequence[Facts], coding: Coding) -> Shares:
    """Return the pixels of each class in each split."""
    by_name = {one.name: one for one in facts}
    pixels, ignored = {}, {}
    for split, stems in seen.splits.items():
        total = np.zeros(256, dtype=np.int64)
        for stem in stems:
            if stem in by_name:
                total += class_counts(seen, by_name[stem], coding)
        pixels[split] = total[: len(coding.classes)]
        ignored[split] = int(total[IGNORE])
    return Shares(coding.classes, pixels, ignored)


def class_counts(seen: Survey, one: Facts, coding: Coding) -> NDArray[np.int64]:
    """Return a picture's pixels of each class [256]; in multilabel, of each label."""
    total = np.zeros(256, dtype=np.int64)
    for mask in one.masks:
        known = mask.values <= IGNORE
        values, counts = mask.values[known], mask.counts[known]
        ids = values if seen.description.palette else coding.table[values]
        if seen.description.task == "multilabel":
            names = list(coding.classes)
            if mask.label in names:
                total[names.index(mask.label)] += counts[ids == 1].sum()
            total[IGNORE] += counts[ids == IGNORE].sum()
        else:
            np.add.at(total, ids, counts)
    return total


def check_classes(seen: Survey, facts: Sequence[Facts], coding: Coding, pixels: Shares) -> list[Finding]:
    """Return which classes are missing where, and which pictures have none."""
    if any(mask.lossy or mask.colour for one in facts for mask in one.masks):
        return []  # then which classes there are isn't known
    training = [split for split in seen.splits if purpose(split) == 0]
    everywhere = sum(pixels.pixels.values(), np.zeros(len(coding.classes), dtype=np.int64))
    trained = sum((pixels.pixels[split] for split in training), np.zeros_like(everywhere))
    absent, elsewhere = [], []
    for number, name in enumerate(coding.classes):
        others = [split for split, counts in pixels.pixels.items() if counts[number] and split not in training]
        if not everywhere[number]:
            absent.append(Place(name))
        elif training and not trained[number]:
            elsewhere.append(Place(name, f"in {', '.join(others)}"))
    least = 1 if seen.description.task == "multilabel" else 2
    dull = [
        Place(split, f"only {', '.join(np.array(coding.classes)[pixels.pixels[split] > 0]) or 'ignored pixels'}")
        for split in training
        if seen.splits[split] and (pixels.pixels[split] > 0).sum() < least
    ]
    ignored, blank, background = [], [], _background(seen, coding)
    for one in facts:
        counts = class_counts(seen, one, coding)
        if not one.masks or not all(mask.fits for mask in one.masks):
            continue
        highest = max(mask.values.max(initial=0) for mask in one.masks)  # from 256 on of no class
        if seen.description.task != "multilabel" and counts.sum() - counts[NO_CLASS] == counts[IGNORE]:
            ignored.append(Place(one.name))
        elif background is not None and highest <= IGNORE and not np.delete(counts[:IGNORE], background).any():
            blank.append(Place(one.name))
    return [
        *finding("nothing_to_learn", dull),
        *finding("only_elsewhere", elsewhere),
        *finding("absent", absent),
        *finding("ignored", ignored),
        *finding("nothing_drawn", blank),
    ]


def _background(seen: Survey, coding: Coding) -> list[int] | None:
    """Ids of what is no object: none in multilabel; None where no class is known to be background."""
    if seen.description.task == "multilabel":
        return []
    background = background_of(seen.description, coding.classes)
    return None if background is None else [background]


def check_alignment(judgement: Judgement) -> list[Finding]:
    """Return what a judgement on the masks' edges says, in findings."""
    votes = f"{judgement.votes[0]} of {judgement.votes[1]} masks say so"
    turned = []
    if judgement.turning is not None:
        turned = [Place(judgement.turning, votes)]
    elif judgement.shift is not None:
        turned = [Place(shift_in_words(judgement.shift), votes)]
    misfits = [Place(name, f"fits when {turning}" if turning else "") for name, turning in judgement.misfits.items()]
    return [*finding("turned", turned), *finding("misfit", misfits)]
