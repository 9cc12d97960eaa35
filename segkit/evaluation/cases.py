"""What is measured of one case at a time: a class's masks in it, and figures averaged over cases and over patients."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from segkit.data.masks import IGNORE
from segkit.errors import DataError
from segkit.evaluation.scores import Array, shares
from segkit.postprocessing.targets import slice_axis
from segkit.task import Task

Mask = NDArray[np.bool_]
Spacing = Sequence[float] | None
"""Millimetres from one pixel to the next along each axis; None where they are unknown."""
Box = tuple[slice, ...] | None
Measured = TypeVar("Measured")


def class_masks(
    labels: NDArray[Any], target: NDArray[Any], task: Task, kept: Sequence[int]
) -> Iterator[tuple[int, Mask, Mask]]:
    """Each class's id with its predicted and its true mask, both cut to the smallest box that holds both.

    Pixels that aren't counted belong to neither mask: an object that reaches into them ends at their edge.

    Args:
        labels: predicted ids of any number of dimensions; for multilabel 0/1 maps, [K, …].
        target: the truth of the same shape; 255 is not counted.
        task: binary, multilabel or multiclass.
        kept: ids of the classes to give.
    """
    if task == "multilabel":
        for k in kept:
            counted = target[k] != IGNORE
            guess, truth = (labels[k] == 1) & counted, target[k] == 1
            box = _union(_boxes(guess, 1)[0], _boxes(truth, 1)[0], truth.ndim)
            yield k, guess[box], truth[box]
        return
    # One up, so that 255 becomes 0, nothing, and each id is a label that a box is found for: one pass for all classes.
    guess, truth = (np.where(target == IGNORE, IGNORE, ids).astype(np.uint8) + np.uint8(1) for ids in (labels, target))
    most = max(kept, default=0) + 1
    guess_boxes, true_boxes = _boxes(guess, most), _boxes(truth, most)
    for k in kept:
        box = _union(guess_boxes[k], true_boxes[k], truth.ndim)
        yield k, guess[box] == k + 1, truth[box] == k + 1


class CaseRows(ABC, Generic[Measured]):
    """What is measured of every class in every case.

    Args:
        classes: names by id.
        task: binary, multilabel or multiclass.
        kept: ids of the classes that aren't background.
    """

    def __init__(self, classes: Sequence[str], task: Task, kept: Sequence[int]) -> None:
        self.classes, self.task, self.kept = tuple(classes), task, list(kept)
        self._units = Units()
        self._rows: list[tuple[str, dict[str, Measured]]] = []  # name, and of each class what was measured

    @abstractmethod
    def measured(self, guess: Mask, truth: Mask, spacing: Spacing) -> Measured:
        """What there is of one class in one case, by its predicted and its true mask."""

    def update(self, name: str, labels: NDArray[Any], target: NDArray[Any], spacing: Spacing = None) -> None:
        """Measure one case.

        Args:
            name: of the case.
            labels: predicted ids, [H, W] or [I, J, K]; for multilabel 0/1 maps, [K, …].
            target: the truth of the same shape; 255 is not counted.
            spacing: millimetres from one pixel to the next along each axis of a mask, or None.

        Raises:
            DataError: the case has a spacing and those before it have none, or the other way round.
        """
        dimensions = target.ndim - (self.task == "multilabel")
        alone = slice_axis(target.shape[-dimensions:])
        if alone is not None and self._units.dimensions != 3:  # a picture: across it everything would be an edge
            labels, target = (np.squeeze(each, alone - dimensions) for each in (labels, target))
            spacing = None if spacing is None else [step for axis, step in enumerate(spacing) if axis != alone]
            dimensions = 2
        self._units.check(name, dimensions, spacing)
        masks = class_masks(labels, target, self.task, self.kept)
        self._rows.append((name, {self.classes[k]: self.measured(guess, truth, spacing) for k, guess, truth in masks}))


class Units:
    """The unit of length that the cases of one report share, decided by the first.

    Attributes:
        length: "mm", or "px" where no spacing is known ("voxels" of volumes); None before the first case.
        dimensions: 2 or 3.
    """

    def __init__(self) -> None:
        self.length: str | None = None
        self.dimensions = 0

    def check(self, name: str, dimensions: int, spacing: Spacing) -> None:
        """Take note of a case; DataError where it is measured otherwise than those before."""
        length = "mm" if spacing is not None else "px" if dimensions == 2 else "voxels"
        if spacing is not None and len(spacing) != dimensions:
            raise ValueError(f"{name}: {len(spacing)} spacings for {dimensions} dimensions")
        if self.length is None:
            self.length, self.dimensions = length, dimensions
        elif (length, dimensions) != (self.length, self.dimensions):
            raise DataError(
                f"{name}: measured in {length} in {dimensions} dimensions, those before it in {self.length} in "
                f"{self.dimensions}; they can't be averaged: evaluate them apart"
            )

    @property
    def size(self) -> str | None:
        """The unit of areas or volumes: px, mm², voxels or mm³."""
        return self.length if self.length != "mm" else "mm²" if self.dimensions == 2 else "mm³"


def averages(values: Array, of: str) -> dict[str, float | int | None]:
    """Mean and median of what is defined (not NaN) among values [N], and under ``of`` how many these are."""
    defined = values[~np.isnan(values)]
    return {
        "mean": float(defined.mean()) if defined.size else None,
        "median": float(np.median(defined)) if defined.size else None,
        of: int(defined.size),
    }


def unit_means(values: Array, units: NDArray[np.int64]) -> Array:
    """Mean of the defined values [N] within each unit, such as a patient, [U]; NaN where none is defined."""
    defined = ~np.isnan(values)
    sums, counts = (np.bincount(units, each).astype(np.float64) for each in (np.where(defined, values, 0), defined))
    return shares(sums, counts)


def without_nan(value: float) -> float | None:
    """The number for JSON: None in the place of what is not finite."""
    return float(value) if np.isfinite(value) else None


def _boxes(ids: NDArray[Any], most: int) -> list[Box]:
    """The smallest box around each of the labels 1..most; None for those that aren't there."""
    found: list[Box] = ndimage.find_objects(ids.view(np.uint8), most)
    return found


def _union(first: Box, second: Box, dimensions: int) -> tuple[slice, ...]:
    """The smallest box around two; an empty one of none."""
    if first is None or second is None:
        return first or second or (slice(0, 0),) * dimensions
    return tuple(slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(first, second, strict=True))
