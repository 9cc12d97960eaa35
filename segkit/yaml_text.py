"""Keys and values from YAML, and in one line what is wrong with it."""

from pathlib import Path
from typing import Any

import yaml

from segkit.errors import SegkitError
from segkit.one_line import one_line


def parse_keys(text: str, where: str | Path, like: str, error: type[SegkitError]) -> dict[Any, Any]:
    """Return the keys and values of a YAML file's text.

    Args:
        text: of the file.
        where: the file, as it is called in messages.
        like: keys that are expected there, as examples.
        error: raised where it isn't YAML, or has no keys.
    """
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as wrong:
        mark = getattr(wrong, "problem_mark", None)
        line = f" line {mark.line + 1}:" if mark else ""
        what = one_line(getattr(wrong, "problem", None) or wrong)
        raise error(f"{where}:{line} not valid YAML: {what}") from None
    if not isinstance(values, dict):
        raise error(f"{where}: expected keys like {like}, found {type(values).__name__}")
    return values
