"""Which labels the steps are applied to: classes by name, sizes in pixels."""

import math
from collections.abc import Iterator, Sequence

from segkit.errors import RecipeError
from segkit.nearest import nearest
from segkit.postprocessing.settings import EVERY, Postprocessing, amount_of
from segkit.task import Task

KEY = "predict.postprocess"
ROUNDING = 1e-9  # share of a size by which what is equal on paper may differ in floating point

Spacing = tuple[float, ...]
"""Distance of neighbouring pixels along each axis, in mm."""


def foreground(task: Task, classes: Sequence[str], background: int | None) -> dict[str, int]:
    """Names of the classes that can be postprocessed, and each one's map."""
    if task == "binary":
        return {classes[-1]: 0}
    return {name: k for k, name in enumerate(classes) if k != background}


def check(settings: Postprocessing, task: Task, classes: Sequence[str], background: int | None) -> None:
    """Raise RecipeError where a step names a class that can't be postprocessed, or has nothing to leave behind."""
    known = foreground(task, classes, background)
    for step in ("thresholds", "largest", "smallest", "holes"):
        for name in getattr(settings, step):
            if name not in known and name != EVERY:
                also = "; the background is what is left of the others" if name in classes else nearest(name, known)
                raise RecipeError(f"{KEY}.{step}: no foreground class {name!r}{also}")
    if task == "multiclass" and background is None:
        for step in ("largest", "smallest", "holes"):
            if getattr(settings, step):
                what = "holes would be of" if step == "holes" else "what is removed would become"
                raise RecipeError(f"{KEY}.{step}: no class is named as background, which {what}; leave it out")


def fewest_pixels(size: str, spacing: Spacing | None, axes: int) -> int:
    """How many pixels a part must have that isn't smaller than a size."""
    return math.ceil(_pixels("smallest", size, spacing, axes) * (1 - ROUNDING))


def most_pixels(size: str, spacing: Spacing | None, axes: int) -> int:
    """How many pixels a hole may have that isn't larger than a size."""
    return math.floor(_pixels("holes", size, spacing, axes) * (1 + ROUNDING))


def deviations(length: str, spacing: Spacing | None, axes: int) -> list[float]:
    """A length in pixels along each axis."""
    number, unit = amount_of(length)
    if unit == "px":
        return [number] * axes
    return [number / step for step in _known("smoothing", length, spacing, axes)]


def _pixels(step: str, size: str, spacing: Spacing | None, axes: int) -> float:
    number, unit = amount_of(size)
    if unit == "px":
        return number
    if unit != f"mm{axes}":
        this = {2: "a picture, in mm2 or px", 3: "a volume, in mm3 or px"}[axes]
        raise RecipeError(f"{KEY}.{step}: {size} can't be measured in {this}")
    return number / math.prod(_known(step, size, spacing, axes))


def _known(step: str, asked: str, spacing: Spacing | None, axes: int) -> Iterator[float]:
    if spacing is None:
        raise RecipeError(f"{KEY}.{step}: {asked}, but nothing says how large this image's pixels are; give it in px")
    if len(spacing) != axes or not all(math.isfinite(each) and each > 0 for each in spacing):
        raise RecipeError(f"spacing={spacing}: expected {axes} distances above 0, in mm, one an axis")
    return iter(spacing)
