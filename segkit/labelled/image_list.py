"""A CSV file that lists images, and says something of each: a label, or a caption."""

import csv
import io
import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segkit.errors import DataError
from segkit.labelled.images import SPLITS
from segkit.labelled.naming import ALIASES
from segkit.nearest import nearest


@dataclass(frozen=True)
class Line:
    """One row of a list: the number of the line it ends in, its file, what is said of that, and its split, if any."""

    number: int
    file: str
    said: str
    split: str


def read_list(path: Path, what: str) -> tuple[list[str], list[Line], list[str]]:
    """The columns of a list, its rows, and what is to be said of it.

    Columns are ``file`` (from the list's folder on, or absolute), that of ``what`` is said, and perhaps ``split``
    (``train``, ``val``, ``test``); UTF-8, separated by comma, semicolon or tab; values in quotes may have line breaks.

    Raises:
        DataError: the file has another form, or an unknown column like one that is missing; a split is unknown. The
            line is named.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 (byte {error.start}); save it as CSV UTF-8") from None
    except OSError as error:
        raise DataError(f"{path}: can't be read ({error.strerror})") from None
    separator = max(",;\t", key=text.partition("\n")[0].count)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        columns = [name.strip().lower() for name in next(rows, [])]
        notes = _check_columns(path, columns, what)
        lines = list(_lines(path, rows, columns, what))
    except csv.Error as error:
        raise DataError(f"{path}: line {rows.line_num}: not CSV ({error})") from None
    if not lines:
        raise DataError(f"{path}: lists no images; {_header(what)}")
    return columns, lines, notes


def check_there(path: Path, lines: Sequence[Line]) -> None:
    """Raise DataError unless every file of a list is there."""
    missing = [line for line in lines if not _is_there(path.parent / line.file)]
    if missing:
        more = f"; {len(missing):,} of the {len(lines):,} files are missing" if len(missing) > 1 else ""
        raise DataError(
            f"{path}: line {missing[0].number}: there is no file {path.parent / missing[0].file}{more}. Paths are "
            "taken from the list's own folder"
        )


def _is_there(file: Path) -> bool:
    try:
        return file.is_file()
    except OSError:  # too long for the name of a file, or in a folder that can't be looked into
        return False


def check_one(path: Path, line: Line, first: Line, name: str, ours: str, theirs: str) -> None:
    """Raise DataError where a line says something else of a file than the first one did, of what an image has once."""
    if ours != theirs:
        raise DataError(
            f"{path}: line {line.number}: {line.file} has {name} {ours!r} here, but {theirs!r} in line {first.number}; "
            "an image has one"
        )


def _header(what: str) -> str:
    return f"the first line names the columns: file,{what} or file,{what},split"


def _check_columns(path: Path, columns: Sequence[str], what: str) -> list[str]:
    """What is to be said of the columns; DataError where one is missing, there twice, or wrongly written."""
    known = ("file", what, "split")
    missing, further = [name for name in known if name not in columns], [name for name in columns if name not in known]
    for name in columns:
        if name and columns.count(name) > 1:
            raise DataError(f"{path}: column {name!r} is there twice")
    for name in further:
        hint = nearest(name, missing) if missing else ""
        if "did you mean" in hint:
            raise DataError(f"{path}: no column is called {name!r}{hint}")
    for name in known[:2]:
        if name in missing:
            raise DataError(f"{path}: no column {name!r}; {_header(what)}")
    unused = ", ".join(name or "one without a name" for name in further)
    return [f"columns that are not used: {unused}"] if further else []


def _lines(path: Path, rows: Any, columns: Sequence[str], what: str) -> Iterator[Line]:
    for row in rows:
        values = [value.strip() for value in row]
        if not any(values):
            continue
        number: int = rows.line_num
        if len(values) != len(columns):
            raise DataError(
                f"{path}: line {number}: {len(values)} values for {len(columns)} columns; put a {what} that has the "
                "separator in it in quotes"
            )
        given = dict(zip(columns, values, strict=True))
        if not given["file"]:
            raise DataError(f"{path}: line {number}: no file")
        split = given.get("split", "")
        if "split" in given and split.lower() not in ALIASES:
            raise DataError(f"{path}: line {number}: no split {split!r}{nearest(split, SPLITS)}")
        file = posixpath.normpath(given["file"].replace("\\", "/"))
        yield Line(number, file, given[what], ALIASES.get(split.lower(), ""))
