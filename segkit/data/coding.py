"""What the values in a dataset's masks mean, decided once for the whole dataset."""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segkit.cores import cores
from segkit.data.description import Description
from segkit.data.masks import IGNORE, LOSSLESS, NO_CLASS, Ids, read_values, shown_values
from segkit.data.suffixes import DICOM, VOLUMES, suffix_of
from segkit.errors import DataError
from segkit.task import Task, named_background

AT_ONCE = 16  # masks that are read side by side
MIXED = (
    "some masks hold 0 and 255 alone, others ids: 255 is ignored, so of the first only what is 0 counts; segkit check "
    "names them, and reads 255 as foreground with --fix, if it means that; if not, say ignore_index: 255 in "
    "dataset.yaml"
)
MOST_GUESSED = 64  # classes that nobody named; beyond it values are rather those of smoothed masks
BY_NAME = np.arange(2)
"""In the place of a DICOM segmentation's values: its segments are known by their names."""


@dataclass(frozen=True)
class Coding:
    """How a mask's values become class ids."""

    classes: tuple[str, ...]
    table: Ids = field(repr=False, compare=False)
    """[256]: class id of each value; 255 = ignore, 254 = no class."""
    notes: tuple[str, ...] = ()


def find_coding(masks: Sequence[Path], description: Description) -> Coding:
    """Return the coding of a dataset's masks, which are read only as far as the answer needs; see ``decide_coding``."""
    folder = masks[0].parent
    check_named(masks, description, folder)
    enough = 1 if any(suffix_of(mask) in VOLUMES for mask in masks) else AT_ONCE  # of volumes each takes seconds
    return decide_coding(_all_values(masks), description, folder, enough)


def check_named(masks: Iterable[Path], description: Description, folder: Path) -> None:
    """Refuse (DataError) DICOM segmentations without classes: their segments have names, no values."""
    if not description.classes and any(suffix_of(mask) == DICOM for mask in masks):
        raise DataError(
            f"{folder}: DICOM segmentations; list the names of their segments under 'classes:' in dataset.yaml"
        )


def decide_coding(
    masks: Iterable[NDArray[np.intp]], description: Description, folder: Path, enough: int = AT_ONCE
) -> Coding:
    """Return the coding of a dataset's masks, from its description and, where that leaves it open, their values.

    Values within {0, 255} in all masks mean background and foreground; where any other id occurs, 255 is ignore: the
    first mask that holds a 1 settles it. Where masks of both kinds were seen, a note says so.

    Args:
        masks: the distinct values of each mask; asked for only as far as the answer needs.
        description: of the dataset.
        folder: where the masks are, for messages.
        enough: after so many masks no more are asked for, if one of them settled it.

    Raises:
        DataError: there is no description and the masks' values can't be class ids.
    """
    classes = description.classes
    if description.palette:
        return Coding(classes, _table(len(classes), None))
    if not classes:
        return _from_values(masks, folder)
    ids = 2 if description.task == "multilabel" else max(2, len(classes))
    names = named_classes(description)
    if ids > 2 or description.ignore_index == IGNORE:
        return Coding(names, _table(ids, description.ignore_index))
    of_ids, of_bytes = _kinds(masks, description.ignore_index, enough)
    if of_ids or not of_bytes:
        return Coding(names, _table(ids, description.ignore_index), (MIXED,) if of_bytes else ())
    table = _table(1, description.ignore_index)
    table[255] = 1
    return Coding(names, table, ("the masks hold {0, 255}: read as background and foreground",))


def named_classes(description: Description) -> tuple[str, ...]:
    """The classes of a description, in the order of their ids.

    One class is a foreground, unless there are several labels; naming what it stands before keeps names and ids in
    step.
    """
    alone = len(description.classes) == 1 and description.task != "multilabel"
    return ("background", *description.classes) if alone else description.classes


def task_of(description: Description, classes: tuple[str, ...]) -> Task:
    """The task of a dataset with these classes, where it isn't named by their number."""
    return description.task or ("multiclass" if len(classes) > 2 else "binary")


def background_of(description: Description, classes: tuple[str, ...]) -> int | None:
    """The id of the class that is background; None where none is."""
    given, task = description.background, task_of(description, classes)
    if isinstance(given, str):
        return classes.index(given)
    if given is not None:
        return given
    if task == "binary":
        return 0
    return named_background(classes) if task == "multiclass" else None


def _from_values(masks: Iterable[NDArray[np.intp]], folder: Path) -> Coding:
    """Classes from every value that occurs."""
    counts, of_bytes = np.zeros(1 << 16, dtype=np.int64), False
    for values in masks:
        counts[values] += 1
        of_bytes = of_bytes or values.tolist() in ([0, IGNORE], [IGNORE])
    found = np.flatnonzero(counts)
    if 255 in found and set(found.tolist()) <= {0, 255}:
        table = _table(1, None)
        table[255] = 1
        return Coding(
            ("background", "foreground"), table, ("the masks hold {0, 255}: read as background and foreground",)
        )
    ids = found[found != IGNORE]
    largest = int(ids.max(initial=0))
    if largest == 0:
        raise DataError(f"{folder}: every mask is empty (all values are {shown_values(found)})")
    if largest >= MOST_GUESSED or 2 * len(ids) < largest + 1:
        raise DataError(
            f"{folder}: the masks hold the values {shown_values(found)}, which can't be class ids 0, 1, 2, …; "
            "name the classes in dataset.yaml, or export the masks again without smoothing"
        )
    names = (
        ("background", "foreground") if largest == 1 else ("background", *(f"class_{i}" for i in range(1, largest + 1)))
    )
    beside = " and 255 to ignore" if IGNORE in found else ""
    mixed = (MIXED,) if of_bytes and largest == 1 else ()
    return Coding(names, _table(len(names), None), (f"the masks hold class ids 0..{largest}{beside}", *mixed))


def _table(ids: int, ignore_index: int | None) -> Ids:
    table = np.full(256, NO_CLASS, dtype=np.uint8)
    table[:ids] = np.arange(ids)
    table[IGNORE] = IGNORE
    if ignore_index is not None:
        table[ignore_index] = IGNORE
    return table


def _kinds(masks: Iterable[NDArray[np.intp]], ignored: int | None, enough: int) -> tuple[bool, bool]:
    """Whether there is a mask of ids, and one of 255 and nothing but 0 and what is to be ignored beside it.

    All masks are asked for until there is one of ids, and then no more than ``enough``.
    """
    of_ids = of_bytes = False
    try:
        for count, values in enumerate(masks, start=1):
            plain = set(values.tolist()) <= {0, 255, ignored}
            of_ids, of_bytes = of_ids or not plain, of_bytes or (plain and 255 in values)
            if of_ids and count >= enough:
                break
    except DataError:  # a mask that can't be read; whoever needs it says so
        if not of_ids:
            raise
    return of_ids, of_bytes


def _all_values(masks: Sequence[Path]) -> Iterator[NDArray[np.intp]]:
    """The distinct values of each mask, in batches read side by side (decoding leaves Python free)."""
    files = [file for mask in masks for file in (_class_files(mask) if mask.is_dir() else [mask])]
    with ThreadPoolExecutor(min(8, cores())) as pool:
        for start in range(0, len(files), AT_ONCE):
            yield from pool.map(_values, files[start : start + AT_ONCE])


def _class_files(folder: Path) -> list[Path]:
    known = (*LOSSLESS, *VOLUMES)
    return sorted(file for file in folder.iterdir() if suffix_of(file) in known and file.name[0] != ".")


def _values(file: Path) -> NDArray[np.intp]:
    if suffix_of(file) == DICOM:
        return BY_NAME
    values = read_values(file)
    return np.flatnonzero(np.bincount(values.ravel(), minlength=256))
