"""Rows of a result file, each written as soon as it is there, so that a benchmark goes on where it was stopped."""

import json
from pathlib import Path
from typing import Any

from segkit.files import write_whole


def read(results: Path) -> dict[str, Any]:
    """The rows that are there."""
    return json.loads(results.read_text()) if results.is_file() else {}


def write(results: Path, key: str, row: dict[str, Any]) -> None:
    """Add a row, or put it in the place of the one with its key."""
    results.parent.mkdir(exist_ok=True)
    write_whole(results, json.dumps({**read(results), key: row}, indent=1) + "\n")
