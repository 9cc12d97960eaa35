"""What a dataset says about itself: ``dataset.yaml``, checked."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path, PurePath
from typing import Annotated, Any, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    FiniteFloat,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from segkit.data.camera import Intrinsics, Motion
from segkit.data.depth_format import Unit
from segkit.errors import DataError
from segkit.nearest import nearest
from segkit.one_line import found_there
from segkit.task import Task
from segkit.yaml_text import parse_keys

Colour = tuple[int, int, int]

ABOUT_DEPTH = (
    "depth_unit",
    "depth_invalid",
    "depth_focal_baseline",
    "intrinsics",
    "depth_intrinsics",
    "depth_to_colour",
)
ABOUT_PICTURES = {"name", "splits", "groups", "roi", *ABOUT_DEPTH}
"""Keys that mean something without the classes."""
OVERLAPPING = "overlapping_groups"
MOST_CLASSES = 254  # ids are uint8; 255 is ignore and 254 marks values that are no class while reading


def _as_text(value: object) -> object:
    """YAML reads an unquoted 541930257111 as a number."""
    if isinstance(value, str):
        return unicodedata.normalize("NFC", value)  # as ``stem_of`` gives names
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _as_colour(value: object) -> object:
    """'#ff8000' as well as [255, 128, 0]."""
    if isinstance(value, str) and re.fullmatch("#[0-9a-fA-F]{6}", value):
        return tuple(bytes.fromhex(value[1:]))
    if isinstance(value, list | tuple) and len(value) == 3 and all(type(v) is int and 0 <= v <= 255 for v in value):
        return tuple(value)
    raise ValueError("expected a colour, [red, green, blue] in 0..255 or '#rrggbb'")


def _inside(folder: str) -> str:
    path = PurePath(folder)
    if not path.parts or ".." in path.parts or path.is_absolute() or path.drive:
        raise ValueError("expected the name of a folder in the dataset's")
    return folder


def _apart(groups: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    group_of: dict[str, str] = {}
    for group, stems in groups.items():
        for stem in stems:
            if group_of.setdefault(stem, group) != group:
                what = (
                    "the picture {stem} is in {first} and in {second}, and may be in one group: join them, or leave it "
                    "out of one"
                )
                raise PydanticCustomError(OVERLAPPING, what, {"stem": stem, "first": group_of[stem], "second": group})
    return groups


def _joined(groups: Mapping[Any, Sequence[Any]]) -> dict[str, list[str]]:
    """Groups of which those with a stem in common are one, under the first one's name."""
    joined: dict[str, list[str]] = {}
    for group, stems in groups.items():
        together = [str(_as_text(stem)) for stem in stems]
        sharing = [name for name, others in joined.items() if not set(others).isdisjoint(together)]
        name, *rest = [*sharing, str(_as_text(group))]
        members = [stem for one in sharing for stem in joined[one]] + together
        joined = {one: others for one, others in joined.items() if one not in rest}
        joined[name] = list(dict.fromkeys(members))
    return joined


Stem = Annotated[str, BeforeValidator(_as_text)]
Name = Annotated[str, AfterValidator(partial(unicodedata.normalize, "NFC"))]


class Description(BaseModel):
    """The keys of ``dataset.yaml``; only ``classes`` must be there, and not even that where there is a palette."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str | None = None
    task: Task | None = Field(
        default=None, description="where absent: binary for one or two classes, multiclass for more"
    )
    classes: tuple[Name, ...] = Field(
        default=(), max_length=MOST_CLASSES, description="names, in the order of their ids"
    )
    background: str | int | None = Field(default=None, description="the class, by name or id, that is background")
    splits: dict[str, tuple[Stem, ...]] = Field(default={}, description="stems of the pictures of each split")
    groups: Annotated[dict[Stem, tuple[Stem, ...]], AfterValidator(_apart)] = Field(
        default={}, description="stems that belong together, for example a patient's"
    )
    roi: Annotated[str, AfterValidator(_inside)] | None = Field(
        default=None, description="folder of 0/1 masks; what lies outside is ignored"
    )
    palette: dict[str, Annotated[Colour, BeforeValidator(_as_colour)]] = Field(
        default={}, description="colour of each class in colour-coded masks; 'ignore' for pixels to ignore"
    )
    ignore_index: int | None = Field(default=None, ge=0, le=255, description="the masks' value for pixels to ignore")
    depth_unit: Unit | None = Field(
        default=None, description="what the values in depth/ are; relative: no distance, so no zoom changes them"
    )
    depth_invalid: tuple[FiniteFloat, ...] | None = Field(
        default=None, description="values in depth/ that mean 'not measured'; where absent: 0"
    )
    depth_focal_baseline: float | None = Field(
        default=None, gt=0, allow_inf_nan=False, description="of disparity: pixels × metres; depth = this / disparity"
    )
    intrinsics: Intrinsics | None = Field(default=None, description="of the camera of the pictures, in pixels")
    depth_intrinsics: Intrinsics | None = Field(
        default=None, description="of another camera that measured the depth, where depth/ isn't aligned to images/"
    )
    depth_to_colour: Motion | None = Field(
        default=None, description="from that camera's space to the pictures' camera's: 3 × 4 or 4 × 4, in metres"
    )

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

    @model_validator(mode="after")
    def _depth_fits_together(self) -> "Description":
        # Each message begins with the key that describe() drops to use the rest.
        if self.depth_unit == "disparity" and self.depth_focal_baseline is None:
            raise ValueError(
                "depth_unit: disparity needs 'depth_focal_baseline', focal length in pixels × baseline in metres; "
                "where they aren't known, say relative"
            )
        if self.depth_unit not in ("disparity", None) and self.depth_focal_baseline is not None:
            raise ValueError(f"depth_focal_baseline: is for disparity alone, but depth_unit is {self.depth_unit}")
        if self.depth_to_colour is not None:
            missing = [key for key in ("intrinsics", "depth_intrinsics") if getattr(self, key) is None]
            if missing:
                raise ValueError(f"depth_to_colour: needs {missing[0]!r} too (fx, fy, cx, cy in pixels)")
            if self.depth_unit == "relative":
                raise ValueError("depth_to_colour: takes depth in metres, but depth_unit is relative")
        elif self.depth_intrinsics is not None:
            raise ValueError(
                "depth_intrinsics: needs 'depth_to_colour' too; leave it out where depth/ is aligned to images/, and "
                "write the identity where both cameras are in one place"
            )
        return self


def read_description(path: Path, *, masks: bool = True) -> Description:
    """Return the checked ``dataset.yaml`` at a path; raise DataError naming the key and the nearest right one.

    Without ``masks`` no classes need be there.
    """
    description, faults = describe(path, masks=masks)
    for fault in faults:
        raise DataError(f"{path}: {fault}")
    return description


def describe(path: Path, *, masks: bool = True) -> tuple[Description, list[str]]:
    """Return what of a ``dataset.yaml`` can be used, and what is wrong with the rest, a line for each fault.

    Raises:
        DataError: the file can't be read, or it isn't YAML with keys.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not a readable text file ({error})") from None
    given = parse_keys(text, path, "'classes:' and 'splits:'", DataError, names=("splits", "groups"))
    values = {key: value for key, value in given.items() if isinstance(key, str)}  # unquoted no, null and 1 are no text
    faults = [
        f"no key {key}, which YAML doesn't read as text{nearest(str(key), Description.model_fields)}"
        for key in given
        if key not in values
    ]
    while True:
        try:
            description = Description.model_validate(values)
            break
        except ValidationError as error:
            faults += [_explain(problem) for problem in error.errors()]
            wrong = {_wrong_key(problem) for problem in error.errors()}
            if any(problem["type"] == OVERLAPPING for problem in error.errors()):
                values["groups"] = _joined(values["groups"])  # so that what belongs together still does
                wrong.discard("groups")
            kept = set(values) - wrong
            if "classes" in wrong or not kept & {"classes", "palette"}:
                kept &= ABOUT_PICTURES
            values = {key: value for key, value in values.items() if key in kept}
    if masks and not description.classes and not faults:
        faults = ["classes: missing; list the classes' names in the order of their ids"]
    return description, faults


def _wrong_key(problem: ErrorDetails) -> str:
    """The key without which the rest can be used."""
    if problem["loc"]:
        return str(problem["loc"][0])
    # Keys that contradict each other have no one location; but for those of the depth, all are about the classes.
    begins_with = problem["msg"].removeprefix("Value error, ").split(":")[0]
    return begins_with if begins_with in ABOUT_DEPTH else "classes"


def _explain(problem: ErrorDetails) -> str:
    """One problem in one line."""
    location: Sequence[str | int] = problem["loc"]
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).lstrip(".")
    if problem["type"] == "extra_forbidden":
        known = Intrinsics.model_fields if len(location) > 1 else Description.model_fields
        return f"no key {key!r}{nearest(str(location[-1]), known)}"
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "value_error" and not key:
        return message
    if problem["type"] == "literal_error" and isinstance(problem["input"], str):
        return f"{key}: {problem['input']!r} is not known{nearest(problem['input'], get_args(Task))}"
    return f"{key}: {message[0].lower()}{message[1:]}{found_there(problem['input'])}"
