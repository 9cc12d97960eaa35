"""What a dataset says about itself: ``dataset.yaml``, checked."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from segkit.errors import DataError
from segkit.nearest import nearest
from segkit.task import Task

Colour = tuple[int, int, int]

ABOUT_PICTURES = {"name", "splits", "groups", "roi", "depth_unit"}
"""Keys that mean something without the classes."""
MOST_CLASSES = 254  # ids are uint8; 255 is ignore and 254 marks values that are no class while reading


def _as_text(value: object) -> object:
    """YAML reads an unquoted 541930257111 as a number."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _as_colour(value: object) -> object:
    """'#ff8000' as well as [255, 128, 0]."""
    if isinstance(value, str) and re.fullmatch("#[0-9a-fA-F]{6}", value):
        return tuple(bytes.fromhex(value[1:]))
    if isinstance(value, list | tuple) and len(value) == 3 and all(type(v) is int and 0 <= v <= 255 for v in value):
        return tuple(value)
    raise ValueError("expected a colour, [red, green, blue] in 0..255 or '#rrggbb'")


Stem = Annotated[str, BeforeValidator(_as_text)]


class Description(BaseModel):
    """The keys of ``dataset.yaml``; only ``classes`` must be there, and not even that where there is a palette."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str | None = None
    task: Task | None = Field(
        default=None, description="where absent: binary for one or two classes, multiclass for more"
    )
    classes: tuple[str, ...] = Field(
        default=(), max_length=MOST_CLASSES, description="names, in the order of their ids"
    )
    background: str | int | None = Field(default=None, description="the class, by name or id, that is background")
    splits: dict[str, tuple[Stem, ...]] = Field(default={}, description="stems of the pictures of each split")
    groups: dict[Stem, tuple[Stem, ...]] = Field(
        default={}, description="stems that belong together, for example a patient's"
    )
    roi: str | None = Field(default=None, description="folder of 0/1 masks; what lies outside is ignored")
    palette: dict[str, Annotated[Colour, BeforeValidator(_as_colour)]] = Field(
        default={}, description="colour of each class in colour-coded masks; 'ignore' for pixels to ignore"
    )
    ignore_index: int | None = Field(default=None, ge=0, le=255, description="the masks' value for pixels to ignore")
    depth_unit: Literal["mm", "m", "0.1mm", "disparity", "relative"] | None = None

    @model_validator(mode="before")
    @classmethod
    def _classes_from_palette(cls, values: Any) -> Any:
        if isinstance(values, dict) and isinstance(values.get("palette"), dict) and not values.get("classes"):
            return {**values, "classes": [name for name in values["palette"] if name != "ignore"]}
        return values

    @model_validator(mode="after")
    def _fits_together(self) -> "Description":
        twice = [name for name in self.classes if self.classes.count(name) > 1]
        if twice:
            raise ValueError(f"classes: {twice[0]!r} is there twice")
        if self.task == "binary" and len(self.classes) > 2:
            raise ValueError(f"task: binary takes one or two classes, there are {len(self.classes)}")
        if self.task == "multiclass" and len(self.classes) == 1:
            raise ValueError("task: multiclass takes two classes or more, there is 1")
        if self.task in (None, "binary") and len(self.classes) == 2:
            first, second = self.classes
            if self.background in (1, second) or second.lower() == "background":
                raise ValueError(
                    f"classes: {second!r} is the background, so a binary task lists it first: [{second}, {first}]. "
                    "Swap 0 and 1 in the masks too; masks in a palette's colours stay as they are"
                )
        if isinstance(self.background, str) and self.background not in self.classes:
            raise ValueError(f"background: no class {self.background!r}{nearest(self.background, self.classes)}")
        if isinstance(self.background, int) and not 0 <= self.background < len(self.classes):
            raise ValueError(f"background: no class {self.background}; ids are 0..{len(self.classes) - 1}")
        if self.palette:
            if self.task == "multilabel":
                raise ValueError("palette: multilabel masks are one file for each class, they have no palette")
            unknown = [name for name in self.palette if name not in (*self.classes, "ignore")]
            if unknown:
                raise ValueError(f"palette: no class {unknown[0]!r}{nearest(unknown[0], self.classes)}")
            missing = [name for name in self.classes if name not in self.palette]
            if missing:
                raise ValueError(f"palette: class {missing[0]!r} has no colour")
            if len(self.classes) == 1:
                raise ValueError("palette: one class only; list the background with its colour too")
            if len(set(self.palette.values())) < len(self.palette):
                raise ValueError("palette: two classes have the same colour")
        return self


def read_description(path: Path) -> Description:
    """Return the checked ``dataset.yaml`` at a path; raise DataError naming the key and the nearest right one."""
    description, faults = describe(path)
    for fault in faults:
        raise DataError(f"{path}: {fault}")
    return description


def describe(path: Path) -> tuple[Description, list[str]]:
    """Return what of a ``dataset.yaml`` can be used, and what is wrong with the rest, a line for each fault.

    Raises:
        DataError: the file can't be read, or it isn't YAML with keys.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}:" if mark else ""
        raise DataError(f"{path}:{line} not valid YAML: {getattr(error, 'problem', None) or error}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not a readable text file ({error})") from None
    if not isinstance(values, dict):
        raise DataError(f"{path}: expected keys like 'classes:' and 'splits:', found {type(values).__name__}")
    faults: list[str] = []
    while True:
        try:
            description = Description.model_validate(values)
            break
        except ValidationError as error:
            faults += [_explain(problem) for problem in error.errors()]
            # Keys that contradict each other, which have no one location, are all about the classes.
            wrong = {str(problem["loc"][0]) if problem["loc"] else "classes" for problem in error.errors()}
            kept = set(values) - wrong
            if "classes" in wrong or not kept & {"classes", "palette"}:
                kept &= ABOUT_PICTURES
            values = {key: value for key, value in values.items() if key in kept}
    if not description.classes and not faults:
        faults = ["classes: missing; list the classes' names in the order of their ids"]
    return description, faults


def _explain(problem: ErrorDetails) -> str:
    """One problem in one line."""
    location: Sequence[str | int] = problem["loc"]
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).lstrip(".")
    if problem["type"] == "extra_forbidden":
        return f"no key {key!r}{nearest(key, Description.model_fields)}"
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "value_error" and not key:
        return message
    if problem["type"] == "literal_error":
        return f"{key}: {problem['input']!r} is not known{_nearest_value(key, str(problem['input']))}"
    shown = repr(problem["input"])
    return f"{key}: {message[0].lower()}{message[1:]}" + (f" (found {shown})" if len(shown) <= 60 else "")


def _nearest_value(key: str, value: str) -> str:
    choices = {"task": ("binary", "multilabel", "multiclass")}.get(key, ("mm", "m", "0.1mm", "disparity", "relative"))
    return nearest(value, choices)
