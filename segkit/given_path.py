"""Names of files and folders as they are given. Imports nothing of the toolkit but its errors."""

import os
import shlex
import subprocess
from pathlib import Path

from segkit.errors import UsageError


def given_path(given: object, name: str) -> Path:
    """The path that an argument names.

    Raises:
        UsageError: it is of another type, holds a null byte, or is empty, which would mean the current folder.
    """
    text = os.fspath(given) if isinstance(given, str | os.PathLike) else given
    if not isinstance(text, str) or not text or "\0" in text:
        found = repr(text) if isinstance(text, str | bytes) else type(given).__name__
        raise UsageError(f"{name}: got {found}; expected the name of a file or folder")
    return Path(text)


def why_no_text(name: str) -> str | None:
    """Why a file's name can't be written down; None where it can."""
    shown = spelled(name)
    return None if shown == name else f"{shown}: the name is no text in UTF-8; rename the file"


def spelled(name: str) -> str:
    """A file's name as it can be shown, with what is no text in UTF-8 by its bytes."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def quoted(path: Path) -> str:
    """A path as a command line takes it."""
    return subprocess.list2cmdline([str(path)]) if os.name == "nt" else shlex.quote(str(path))
