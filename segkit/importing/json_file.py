"""What a JSON file says, checked, and the files that it names."""

from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from segkit.errors import DataError

Said = TypeVar("Said")

BOM = b"\xef\xbb\xbf"  # some editors begin their files with it


def read_json(path: Path, kind: type[Said]) -> Said:
    """Return what a JSON file holds, as a type that pydantic checks.

    Raises:
        DataError: the file can't be read, isn't JSON (with line and column), or something in it is not as expected
            (with its place).
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: can't be read ({error.strerror or error})") from error
    try:
        return TypeAdapter(kind).validate_json(data.removeprefix(BOM))
    except ValidationError as error:
        more = f"; {error.error_count() - 1:,} more faults" if error.error_count() > 1 else ""
        raise DataError(f"{path}: {_explain(error.errors(include_url=False)[0])}{more}") from None


def inside(folder: Path, named: str, by: Path) -> Path:
    """The path of a file that a JSON or a list names by its place in a folder.

    Raises:
        DataError: the name leads out of the folder, or is none.
    """
    plain = PurePosixPath(named.replace("\\", "/"))  # as written on Windows
    if not plain.parts or "\0" in named:
        raise DataError(f"{by}: names a file {named!r}, which is no name")
    if plain.is_absolute() or ".." in plain.parts or PureWindowsPath(named).drive:
        raise DataError(
            f"{by}: names {named!r}, which leads out of its folder; nothing outside {folder} is read: move the file "
            "there and name it by its place in it"
        )
    return folder / plain


def _explain(problem: ErrorDetails) -> str:
    """One problem in one line."""
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "json_invalid":
        return f"not valid JSON: {message.removeprefix('Invalid JSON: ')}"
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in problem["loc"]).lstrip(".")
    if problem["type"] == "missing":
        return f"{place}: missing"
    found = repr(problem["input"])
    shown = f" (found {found})" if len(found) <= 60 else ""
    return f"{place + ': ' if place else ''}{message[0].lower()}{message[1:]}{shown}"
