"""What is to be done to predicted masks: the recipe's ``predict.postprocess``."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

EVERY = "*"
"""In the place of a class's name: every class that isn't named, but the background."""
CHOSEN_ON = "postprocessed_on"
"""Key of what is kept with a model: the pictures on which its steps were chosen."""
WHOLE = "all"
"""In the place of a size: whatever the size."""

Value = TypeVar("Value")


def _amount(value: object, units: tuple[str, ...]) -> str:
    """A number and its unit in the one form that is kept, such as ``50 mm3``."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([a-z]+[23]?)\s*", str(value))
    if found is None or found[2] not in units or float(found[1]) <= 0:
        examples = " or ".join(f"'5 {unit}'" for unit in units)
        raise ValueError(f"expected a number above 0 and its unit, such as {examples}; found {value!r}")
    return f"{found[1]} {found[2]}"


def _size(value: object) -> str:
    return _amount(value, ("mm3", "mm2", "px"))


def _length(value: object) -> str:
    return _amount(value, ("mm", "px"))


def _hole(value: object) -> str:
    return WHOLE if value is True or value == WHOLE else _size(value)


def _by_class(value: object) -> object:
    """One value for every class as ``{"*": value}``; nothing as no class."""
    if value is None or value is False:
        return {}
    return value if isinstance(value, Mapping) else {EVERY: value}


def _classes(value: object) -> object:
    """``true`` as every class; nothing as none."""
    if value is None or isinstance(value, bool):
        return [EVERY] if value else []
    return value


def _or_by_class(*kinds: dict[str, Any]) -> dict[str, Any]:
    """JSON schema of a value of one of these kinds, or of such values by class."""
    by_class = {"type": "object", "additionalProperties": {"anyOf": list(kinds)} if len(kinds) > 1 else kinds[0]}
    return {"anyOf": [*kinds, by_class, {"type": "null"}]}


_AMOUNT = {"type": "string", "pattern": r"^\s*[0-9.]+\s*(px|mm2|mm3)\s*$"}
_PROBABILITY = {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}

Probabilities = Annotated[
    dict[str, Annotated[float, Field(gt=0, lt=1)]],
    BeforeValidator(_by_class),
    WithJsonSchema(_or_by_class(_PROBABILITY)),
]
Sizes = Annotated[
    dict[str, Annotated[str, BeforeValidator(_size)]], BeforeValidator(_by_class), WithJsonSchema(_or_by_class(_AMOUNT))
]
Holes = Annotated[
    dict[str, Annotated[str, BeforeValidator(_hole)]],
    BeforeValidator(_by_class),
    WithJsonSchema(_or_by_class({"type": "boolean"}, _AMOUNT)),
]
Names = Annotated[
    list[str],
    BeforeValidator(_classes),
    WithJsonSchema({"anyOf": [{"type": "boolean"}, {"type": "array", "items": {"type": "string"}}]}),
]
Length = Annotated[
    str,
    BeforeValidator(_length),
    WithJsonSchema({"type": "string", "pattern": r"^\s*[0-9.]+\s*(px|mm)\s*$"}),
]


class Postprocessing(BaseModel):
    """What is done to predicted masks, in this order: smoothing, thresholds, largest, smallest, holes.

    A value is for every class but the background, or by class: ``{liver: 50 mm3, tumour: 20 px}``, where ``"*"`` stands
    for the classes that aren't named. Sizes are ``mm3`` (volumes), ``mm2`` (pictures whose pixels have a known size) or
    ``px`` (pixels or voxels). Parts are of pixels that touch at a side or a corner, so 8 neighbours in pictures and 26
    in volumes; holes are of pixels that touch at a side, 4 and 6. Multilabel: each map on its own.

    Attributes:
        smoothing: standard deviation, ``mm`` or ``px``, of a Gaussian that probabilities are averaged with before they
            become labels; at the border, of the pixels that are there.
        thresholds: binary and multilabel: the probability from which on a pixel is of the class, in the place of
            ``predict.threshold``. Multiclass: only classes whose probability reaches their threshold are candidates,
            of which the most probable wins; the background, and classes without a threshold, always are. Where there
            is no candidate the most probable class wins.
        largest: the classes of which the largest part alone is kept; of equal ones the first, row by row.
        smallest: the size below which parts are removed.
        holes: ``true``, or the size up to which holes are filled. A hole is background that doesn't touch the border
            and has one class alone around it, which it then gets; in volumes in three dimensions.

    What is removed becomes background.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)
    smoothing: Length | None = Field(None, description="of probabilities, a Gaussian's deviation: 1 mm or 2 px")
    thresholds: Probabilities = Field({}, description="probability to reach; one, or by class")
    largest: Names = Field([], description="keep the largest part alone: true, or the classes")
    smallest: Sizes = Field({}, description="remove smaller parts: 50 mm3, 5 mm2 or 20 px; one, or by class")
    holes: Holes = Field({}, description="fill holes: true, or up to 50 mm3, 5 mm2 or 20 px; one, or by class")

    @property
    def steps(self) -> tuple[str, ...]:
        """The steps asked for, in order."""
        return tuple(name for name in type(self).model_fields if getattr(self, name))

    @property
    def relabels(self) -> bool:
        """Whether labels are made anew from probabilities."""
        return bool(self.smoothing or self.thresholds)

    def without(self, step: str) -> "Postprocessing":
        """The same without a step."""
        return Postprocessing(**{name: getattr(self, name) for name in self.steps if name != step})

    @property
    def in_millimetres(self) -> bool:
        """Whether a size or length isn't in pixels."""
        sizes = [self.smoothing, *self.smallest.values(), *self.holes.values()]
        return any(isinstance(size, str) and "mm" in size for size in sizes)

    def described(self) -> str:
        """The steps in words."""
        said = []
        for step in self.steps:
            value = getattr(self, step)
            listed = [f"{name} {each}" for name, each in value.items()] if isinstance(value, dict) else value
            words = listed if isinstance(listed, str) else ", ".join(listed)
            said.append(f"{step} {words.replace(EVERY, 'every class')}")
        return "; ".join(said)

    def kept(self) -> dict[str, Any] | None:
        """What is kept with a model: the steps asked for, ready for JSON; None where there are none."""
        return self.model_dump(mode="json", include=set(self.steps)) or None


def of_class(values: Mapping[str, Value], name: str) -> Value | None:
    """The value of a class by its name, or that of every class."""
    return values.get(name, values.get(EVERY))


def amount_of(text: str) -> tuple[float, str]:
    """The number and the unit of what is kept, such as ``50 mm3``."""
    number, unit = text.split()
    return float(number), unit
