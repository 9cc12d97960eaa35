"""What is tried of each step: values that its own images suggest."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, log10
from typing import Literal

import numpy as np

from segkit.postprocessing.holes import hole_sizes
from segkit.postprocessing.parts import part_sizes
from segkit.postprocessing.settings import EVERY, Postprocessing
from segkit.postprocessing.strips import Ids
from segkit.postprocessing.targets import ROUNDING, slice_axis
from segkit.task import Task

Step = Literal["smoothing", "thresholds", "largest", "smallest", "holes"]
STEPS: tuple[Step, ...] = ("smoothing", "thresholds", "largest", "smallest", "holes")

DEVIATIONS = (0.5, 1.0, 2.0)  # of the smallest distance of pixels
THRESHOLDS = tuple(round(0.05 * i, 2) for i in range(1, 20))
QUANTILES = (0.25, 0.5, 0.75, 0.9)  # of the sizes of parts, or holes, of a case


@dataclass(frozen=True)
class Change:
    """One value of a step for one class.

    Attributes:
        step: which.
        name: the class's; ``*`` for smoothing, which is of all.
        value: as in the recipe.
    """

    step: Step
    name: str
    value: str | float | bool

    @property
    def said(self) -> str:
        """The value in words."""
        return {"largest": "alone", "holes": "all"}[self.step] if self.value is True else str(self.value)

    def added_to(self, settings: Postprocessing) -> Postprocessing:
        """Settings with this value."""
        given = getattr(settings, self.step)
        value: object = self.value
        if self.step == "largest":
            value = [*given, self.name]
        elif self.step != "smoothing":
            value = {**given, self.name: self.value}
        return Postprocessing(**{**settings.model_dump(), self.step: value})


def deviations(spacing: float | None) -> list[Change]:
    """Deviations to smooth with, by the smallest distance of pixels in mm, or in pixels where that isn't known."""
    unit = "px" if spacing is None else "mm"
    return [Change("smoothing", EVERY, f"{_rounded(each * (spacing or 1))} {unit}") for each in DEVIATIONS]


def thresholds(name: str, task: Task, classes: int, before: float) -> list[Change]:
    """Thresholds of a class, the nearest to the one before first; of several classes only such as some pixel misses."""
    if task == "multiclass":
        return [Change("thresholds", name, each) for each in THRESHOLDS if each * classes > 1]
    return [Change("thresholds", name, each) for each in sorted(THRESHOLDS, key=lambda each: abs(each - before))]


def largest(name: str) -> list[Change]:
    """The largest part of a class alone."""
    return [Change("largest", name, True)]


def sizes(step: Step, name: str, found: Sequence[Sequence[float]], unit: str) -> list[Change]:
    """Sizes up to which parts are removed, or holes filled, by those that were found; of holes also all.

    Args:
        step: smallest or holes.
        name: the class's.
        found: of each case that has any, what :func:`size_quantiles` gives.
        unit: of them.
    """
    typical = np.median(found, axis=0).tolist() if found else []
    values = dict.fromkeys(f"{_rounded(each)} {unit}" for each in typical)
    every = [Change(step, name, True)] if step == "holes" else []
    return [*(Change(step, name, value) for value in values), *every]


def size_quantiles(step: Step, labels: Ids, label: int, background: int, pixel: float) -> list[float]:
    """Of a case's parts, or holes, of a class the sizes at the quantiles; none where it has none.

    Args:
        step: smallest: a size below which such parts are; holes: one up to which holes are.
        labels: [H, W] or [I, J, K].
        label: the class's.
        background: of the labels.
        pixel: the size of one.
    """
    alone = slice_axis(labels.shape)
    flat = labels if alone is None else labels.squeeze(alone)
    found = part_sizes(flat, label) if step == "smallest" else hole_sizes(flat, label, background)
    if not found.size:
        return []
    beyond = 1 if step == "smallest" else 0
    return [(float(each) + beyond) * pixel for each in np.quantile(found, QUANTILES, method="lower")]


def _rounded(value: float) -> str:
    """A number above 0, not below, with two digits that count."""
    step = 10.0 ** (floor(log10(value)) - 1)
    return np.format_float_positional(round(ceil(value / step * (1 - ROUNDING)) * step, 12), trim="-")
