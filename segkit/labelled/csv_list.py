"""Images listed in a CSV file with the columns file, label and, perhaps, split."""

import csv
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from segkit.errors import DataError
from segkit.labelled.drawing import drawn_splits, with_unlabelled
from segkit.labelled.images import SPLITS, UNLABELLED, LabelledImages
from segkit.labelled.naming import ALIASES, class_order, image_names
from segkit.labelled.sources import Files
from segkit.nearest import nearest

NEEDED, KNOWN = ("file", "label"), ("file", "label", "split")
HEADER = "the first line names the columns: file,label or file,label,split"


@dataclass(frozen=True)
class Line:
    """One line of the list: its number, and what it says; no label, or split, is empty."""

    number: int
    file: str
    label: str
    split: str


def open_csv(path: Path) -> LabelledImages:
    """Return the images that a CSV file lists, by paths from its own folder; separated by comma, semicolon or tab.

    Where it has no column ``split``, splits are drawn by a hash of the names. An image with an empty label has none. A
    line that is there twice counts once.

    Raises:
        DataError: the file has another form or an unknown column like one that is missing; a split is unknown; an
            image is missing, or listed twice with different labels or splits. The line is named.
    """
    columns, lines, notes = _read(path)
    kept: dict[str, Line] = {}
    again = 0
    for line in lines:
        first = kept.setdefault(line.file, line)
        again += first is not line
        for what in ("label", "split"):
            ours, theirs = getattr(line, what), getattr(first, what)
            if ours != theirs:
                raise DataError(
                    f"{path}: line {line.number}: {line.file} has {what} {ours!r} here, but {theirs!r} in line "
                    f"{first.number}; an image has one"
                )
    if not kept:
        raise DataError(f"{path}: lists no images; {HEADER}")
    if again:
        notes.append(f"{again:,} lines are there twice; each counts once")
    _check_there(path, list(kept.values()))
    classes = class_order(line.label for line in kept.values() if line.label)
    if not classes:
        raise DataError(f"{path}: no line has a label")
    ids = {name: number for number, name in enumerate(classes)} | {"": -1}
    labels = np.array([ids[line.label] for line in kept.values()], dtype=np.int64)
    files = list(kept)
    names = image_names(files)
    if "split" in columns:
        listed = np.array([line.split for line in kept.values()])
        splits = with_unlabelled({split: np.flatnonzero(listed == split) for split in SPLITS}, labels)
    else:
        splits = drawn_splits(names, labels)
        sizes = ", ".join(f"{split} {len(splits[split]):,}" for split in SPLITS if split in splits)
        notes.append(f"no column 'split': 70/15/15 % of each class by a hash of the name ({sizes})")
    if UNLABELLED in splits:
        notes.append(f"{len(splits[UNLABELLED]):,} images have no label")
    name = path.stem if path.name != "labels.csv" else path.resolve().parent.name
    return LabelledImages(path, name, classes, names, labels, splits, tuple(notes), Files(path.parent, files))


def _read(path: Path) -> tuple[list[str], Iterator[Line], list[str]]:
    """The columns, the lines, and notes."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not a readable text file ({error})") from None
    header, *_ = text.splitlines() or [""]
    separator = max(",;\t", key=header.count)
    columns = [name.strip().strip('"').lower() for name in header.split(separator)]
    notes = _check_columns(path, columns)
    return columns, _lines(path, text, separator, columns), notes


def _check_columns(path: Path, columns: list[str]) -> list[str]:
    """What is to be said of the columns; DataError where one is missing, there twice, or wrongly written."""
    twice = [name for name in columns if name and columns.count(name) > 1]
    if twice:
        raise DataError(f"{path}: column {twice[0]!r} is there twice")
    missing, further = [name for name in KNOWN if name not in columns], [name for name in columns if name not in KNOWN]
    for name in further:
        hint = nearest(name, missing) if missing else ""
        if "did you mean" in hint:
            raise DataError(f"{path}: no column is called {name!r}{hint}")
    for name in NEEDED:
        if name in missing:
            raise DataError(f"{path}: no column {name!r}; {HEADER}")
    return [f"columns that are not used: {', '.join(further)}"] if further else []


def _lines(path: Path, text: str, separator: str, columns: list[str]) -> Iterator[Line]:
    rows = csv.reader(text.splitlines(), delimiter=separator, strict=True)
    next(rows)
    try:
        for row in rows:
            values = [value.strip() for value in row]
            if not any(values):
                continue
            if len(values) != len(columns):
                raise DataError(
                    f"{path}: line {rows.line_num}: {len(values)} values for {len(columns)} columns; put a value with "
                    f"a {'tab' if separator == chr(9) else repr(separator)} in quotes"
                )
            given = dict(zip(columns, values, strict=True))
            if not given["file"]:
                raise DataError(f"{path}: line {rows.line_num}: no file")
            split = given.get("split", "")
            if "split" in given and split.lower() not in ALIASES:
                raise DataError(f"{path}: line {rows.line_num}: no split {split!r}{nearest(split, SPLITS)}")
            file = os.path.normpath(given["file"].replace("\\", "/"))
            yield Line(rows.line_num, file, given["label"], ALIASES.get(split.lower(), ""))
    except csv.Error as error:
        raise DataError(f"{path}: line {rows.line_num}: not CSV ({error})") from None


def _check_there(path: Path, lines: list[Line]) -> None:
    missing = [line for line in lines if not (path.parent / line.file).is_file()]
    if missing:
        more = f"; {len(missing):,} of the {len(lines):,} files are missing" if len(missing) > 1 else ""
        raise DataError(
            f"{path}: line {missing[0].number}: there is no file {path.parent / missing[0].file}{more}. Paths are "
            "taken from the list's own folder"
        )
