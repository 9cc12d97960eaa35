"""A choice of the recipe writer: a value, and why."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Choice:
    """A value of the recipe, and why."""

    value: Any
    reason: str = ""


Section = dict[str, Choice]
"""Keys of a section of the recipe, in the order of the file."""
