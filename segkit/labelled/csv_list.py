"""Images listed in a CSV file with the columns file, label and, perhaps, split."""

import os
from pathlib import Path

import numpy as np

from segkit.errors import DataError
from segkit.labelled.image_list import Line, check_one, check_there, read_list
from segkit.labelled.images import SPLITS, UNLABELLED, LabelledImages
from segkit.labelled.naming import class_name, class_order, image_names
from segkit.labelled.sources import Files
from segkit.labelled.splits import drawn_splits, shared, unlearned, with_unlabelled


def open_csv(path: Path) -> LabelledImages:
    """Return the images that a CSV file lists, by paths from its own folder; separated by comma, semicolon or tab.

    Where it has no column ``split``, splits are drawn by a hash of the names. An image with an empty label has none. A
    line that is there twice counts once.

    Raises:
        DataError: the file has another form or an unknown column like one that is missing; a split is unknown; an
            image is missing, or listed twice with different labels or splits. The line is named.
    """
    columns, lines, notes = read_list(path, "label")
    kept: dict[str, Line] = {}
    again = 0
    for line in lines:
        first = kept.setdefault(line.file, line)
        again += first is not line
        check_one(path, line, first, "label", class_name(line.said), class_name(first.said))
        check_one(path, line, first, "split", line.split, first.split)
    if again:
        notes.append(f"{again:,} lines are there twice; each counts once")
    check_there(path, list(kept.values()))
    said = [class_name(line.said) for line in kept.values()]
    classes = class_order(name for name in said if name)
    if not classes:
        raise DataError(f"{path}: no line has a label")
    ids = {name: number for number, name in enumerate(classes)} | {"": -1}
    labels = np.array([ids[name] for name in said], dtype=np.int64)
    files = list(kept)
    names = image_names(files)
    if "split" in columns:
        listed = np.array([line.split for line in kept.values()])
        splits = with_unlabelled({split: np.flatnonzero(listed == split) for split in SPLITS}, labels)
    else:
        splits = drawn_splits(names, labels)
        sizes = ", ".join(f"{split} {len(splits[split]):,}" for split in SPLITS if split in splits)
        notes.append(f"no column 'split': 70/15/15 % of each class by a hash of the name ({sizes})")
    notes += unlearned(classes, labels, splits)
    notes += shared([os.path.realpath(path.parent / file) for file in files], splits, how="by another path")
    if UNLABELLED in splits:
        notes.append(f"{len(splits[UNLABELLED]):,} images have no label")
    name = path.stem if path.name != "labels.csv" else path.resolve().parent.name
    return LabelledImages(path, name, classes, names, labels, splits, tuple(notes), Files(path.parent, files))
