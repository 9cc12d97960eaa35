"""Names of files and folders as they are given. Imports nothing of the toolkit but its errors."""

import os
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
