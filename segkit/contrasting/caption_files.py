"""Images with captions: a folder with ``captions.csv``."""

import csv
import io
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from segkit.data.splits import hashed_groups
from segkit.errors import DataError, UsageError
from segkit.labelled.drawing import HELD_OUT
from segkit.labelled.images import SPLITS, LabelledImages
from segkit.labelled.naming import ALIASES, image_names
from segkit.labelled.sources import Files
from segkit.nearest import nearest

LIST = "captions.csv"
COLUMNS = ("file", "caption", "split")
HEADER = "the first line names the columns: file,caption or file,caption,split"


@dataclass(frozen=True, eq=False)
class CaptionedImages:
    """Images of one dataset and what is said of them; :func:`open_captions` finds them.

    Attributes:
        images: the images, their names and splits; none has a label.
        captions: of each image, one or more.
    """

    images: LabelledImages
    captions: tuple[tuple[str, ...], ...]

    def texts(self, indices: Iterable[int]) -> list[str]:
        """All captions of some images, each text once, in the order of their first use."""
        return list(dict.fromkeys(text for index in indices for text in self.captions[index]))


def open_captions(path: str | Path) -> CaptionedImages:
    """Return the images and captions of a folder with ``captions.csv``, or of such a file.

    Its columns are ``file`` (from the list's folder on, or absolute), ``caption`` and, where one likes, ``split``
    (``train``, ``val``, ``test``); UTF-8, separated by comma, semicolon or tab. An image has as many rows as captions.
    Without a split ``val`` a tenth of the training images, by a hash of their names, is set aside for it.

    Raises:
        UsageError: there is no such list.
        DataError: what is wrong with the list, with its line; the images themselves aren't opened.
    """
    path = Path(path)
    path = path / LIST if path.is_dir() else path
    if not path.is_file():
        raise UsageError(f"{path}: no list of captions there; expected a CSV file with the columns file and caption")
    rows, notes = _rows(path)
    captions: dict[str, list[str]] = {}
    first: dict[str, _Row] = {}
    for row in rows:
        captions.setdefault(row.file, []).append(row.caption)
        before = first.setdefault(row.file, row)
        if before.split != row.split:
            raise DataError(
                f"{path}: line {row.line}: {row.file} is in the split {row.split!r} here, but in {before.split!r} in "
                f"line {before.line}; an image is in one"
            )
    files = list(captions)
    for file in files:
        if not (path.parent / file).is_file():
            raise DataError(
                f"{path}: line {first[file].line}: there is no file {path.parent / file}. Paths are taken from the "
                "list's own folder"
            )
    splits = {file: row.split for file, row in first.items()}
    if "train" in splits.values() and "val" not in splits.values():
        chosen = _held_out([file for file in files if splits[file] == "train"])
        splits |= dict.fromkeys(chosen, "val")
        notes.append(
            f"no val split: {len(chosen):,} training images are held out as one ({HELD_OUT:.0%}, by a hash of the name)"
        )
    numbers = {split: [i for i, file in enumerate(files) if splits[file] == split] for split in SPLITS}
    images = LabelledImages(
        path=path,
        name=path.resolve().parent.name if path.name == LIST else path.stem,
        classes=(),
        names=image_names(files),
        labels=np.full(len(files), -1),
        splits={split: np.array(found, dtype=np.int64) for split, found in numbers.items() if found},
        notes=tuple(notes),
        source=Files(path.parent, files),
    )
    return CaptionedImages(images, tuple(map(tuple, captions.values())))


class _Row(NamedTuple):
    """One caption, and the line that its row ends in."""

    line: int
    file: str
    caption: str
    split: str


def _rows(path: Path) -> tuple[list[_Row], list[str]]:
    """All rows, and what is to be said of them."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 (byte {error.start}); save it as CSV UTF-8") from None
    except OSError as error:
        raise DataError(f"{path}: can't be read ({error.strerror})") from None
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=max(",;\t", key=text.partition("\n")[0].count), strict=True
    )
    try:
        columns = [column.strip().lower() for column in next(reader, [])]
        notes = _check_columns(path, columns)
        rows = [_row(path, reader.line_num, columns, values) for values in reader if any(values)]
    except csv.Error as error:
        raise DataError(f"{path}: line {reader.line_num}: not CSV ({error})") from None
    if not rows:
        raise DataError(f"{path}: no captions in it; {HEADER}")
    return rows, notes


def _check_columns(path: Path, columns: Sequence[str]) -> list[str]:
    """What is to be said of the columns; DataError where one is missing, there twice, or wrongly written."""
    for column in columns:
        if columns.count(column) > 1:
            raise DataError(f"{path}: column {column!r} is there twice")
        hint = nearest(column, [known for known in COLUMNS if known not in columns])
        if column not in COLUMNS and "did you mean" in hint:
            raise DataError(f"{path}: no column is called {column!r}{hint}")
    for column in COLUMNS[:2]:
        if column not in columns:
            raise DataError(f"{path}: no column {column!r}; {HEADER}")
    others = [column for column in columns if column not in COLUMNS]
    return [f"columns that are not used: {', '.join(others)}"] if others else []


def _row(path: Path, line: int, columns: Sequence[str], values: Sequence[str]) -> _Row:
    if len(values) != len(columns):
        raise DataError(
            f"{path}: line {line}: {len(values)} values for {len(columns)} columns; put a caption with commas in quotes"
        )
    given = {"split": "train", **{column: value.strip() for column, value in zip(columns, values, strict=True)}}
    for column in COLUMNS[:2]:
        if not given[column]:
            raise DataError(f"{path}: line {line}: no {column}")
    split = ALIASES.get(given["split"].lower())
    if split is None:
        raise DataError(f"{path}: line {line}: no split {given['split']!r}{nearest(given['split'], SPLITS)}")
    return _Row(line, os.path.normpath(given["file"].replace("\\", "/")), given["caption"], split)


def _held_out(names: Sequence[str]) -> list[str]:
    """A tenth of the names, one at least where there are two."""
    count = max(1, round(HELD_OUT * len(names))) if len(names) > 1 else 0
    order = hashed_groups(names, {})
    return [group[0] for group in order[len(order) - count :]]


def own_captions(captions: Sequence[Sequence[str]], texts: Sequence[str]) -> NDArray[np.bool_]:
    """Which of M texts each of N images has: bool [N, M]."""
    number = {text: i for i, text in enumerate(texts)}
    own = np.zeros((len(captions), len(texts)), dtype=np.bool_)
    for row, said in zip(own, captions, strict=True):
        row[[number[text] for text in said]] = True
    return own
