"""How far the edges of predicted objects are from the true ones: HD95, average and normalised surface distance."""

import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import KDTree

from segkit.errors import UsageError
from segkit.evaluation.cases import CaseRows, Mask, Spacing, averages, unit_means, without_nan
from segkit.evaluation.scores import Array
from segkit.one_line import why_missing
from segkit.task import Task

FIGURES = ("hd95", "asd", "nsd")
STATES = ("measured", "missed", "invented", "absent")


class Surface(NamedTuple):
    """Distances between two masks' edges, in mm or pixels; infinite where one of them is empty, NaN where both are."""

    hd95: float
    """95th percentile of the distances from one edge to the other, the larger of both directions."""
    asd: float
    """Mean of the distances of both directions together."""
    nsd: float
    """Share of both edges that is within the tolerance of the other, 0..1; 0 where one mask is empty."""


def surface_between(guess: Mask, truth: Mask, tolerance: float, spacing: Spacing = None) -> Surface:
    """The distances between two masks of the same shape, [H, W] or [I, J, K], as ``monai.metrics`` gives them.

    Args:
        guess: the prediction.
        truth: what it should be.
        tolerance: of the normalised surface distance, in the unit of ``spacing``.
        spacing: millimetres from one pixel to the next along each axis; None counts in pixels.

    Raises:
        UsageError: MONAI isn't installed.
    """
    if not guess.any() or not truth.any():
        return Surface(np.inf, np.inf, 0.0) if guess.any() or truth.any() else Surface(np.nan, np.nan, np.nan)
    metrics = require_monai()
    masks = [torch.from_numpy(np.ascontiguousarray(mask))[None, None] for mask in (guess, truth)]  # [1, 1, …]
    steps = [float(length) for length in spacing] if spacing is not None else [1.0] * truth.ndim
    how = {"include_background": True, "spacing": steps}  # masks of one class have no background
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # MONAI's, of its own calls
        return Surface(
            metrics.compute_hausdorff_distance(*masks, percentile=95, **how).item(),
            metrics.compute_average_surface_distance(*masks, symmetric=True, **how).item(),
            _share_within(guess, truth, tolerance, steps),
        )


def _share_within(guess: Mask, truth: Mask, tolerance: float, steps: Sequence[float]) -> float:
    """Share of both edges within the tolerance: MONAI's ``compute_surface_dice(use_subvoxels=True)``.

    MONAI's own keeps several numbers for each voxel: 7 GB and half a minute for a CT of 50 million with one false voxel
    in a far corner. Here only its table is used, of the areas that the eight voxels around a corner can make.
    """
    table, kernel = (np.asarray(values) for values in require_monai().utils.get_code_to_measure_table(steps))
    weights = kernel.reshape((2,) * truth.ndim).astype(np.uint8)
    (places, sizes), (true_places, true_sizes) = (_pieces(mask, table, weights) for mask in (guess, truth))
    at, true_at = (np.multiply(each, steps, dtype=np.float64) for each in (places, true_places))
    right = sizes[_near(at, true_at, tolerance)].sum() + true_sizes[_near(true_at, at, tolerance)].sum()
    return float(right / (sizes.sum() + true_sizes.sum()))


def _pieces(mask: Mask, table: Array, weights: NDArray[np.uint8]) -> tuple[NDArray[np.int64], Array]:
    """Where the edge's pieces are, [N, 2] or [N, 3] on the grid of the pixels' corners, and their lengths or areas [N].

    Args:
        mask: [H, W] or [I, J, K].
        table: the size of a piece by its code, which says which of the pixels around a corner are in the mask.
        weights: what each of these adds to the code, [2, 2] or [2, 2, 2].
    """
    padded = np.pad(mask, 1)
    codes = np.zeros([length - 1 for length in padded.shape], np.uint8)
    for corner, weight in np.ndenumerate(weights):
        around = tuple(slice(at, at + length) for at, length in zip(corner, codes.shape, strict=True))
        codes += padded[around] * weight
    places = np.argwhere((codes > 0) & (codes < len(table) - 1))
    return places, table[codes[tuple(places.T)]].astype(np.float64)


def _near(points: Array, others: Array, tolerance: float) -> Mask:
    """Which of the points [N, D] have one of the others within the tolerance, as float32 has it."""
    reach = tolerance * 1.001 + 1e-6  # further away nothing has to be looked for
    distances, _ = KDTree(others).query(points, distance_upper_bound=reach)
    near: Mask = distances.astype(np.float32) <= np.float32(tolerance)  # 3 · 0.1 is within 0.3
    return near


def require_monai() -> Any:
    """The module ``monai.metrics``; UsageError, with what installs it, where it is missing."""
    try:
        return import_module("monai.metrics")
    except ImportError as error:
        why = why_missing(error, "monai")
        raise UsageError(f'monai {why}; surface distances need it: pip install "segkit[surface]"') from error


class SurfaceDistances(CaseRows[dict[str, Any]]):
    """Surface distances of every class in every case, and their averages.

    Args:
        classes: names by id.
        task: binary, multilabel or multiclass.
        kept: ids of the classes that aren't background.
        tolerance: distance up to which an edge counts as right, in mm; in pixels where no spacing is known.

    Raises:
        UsageError: a tolerance that is none, or MONAI isn't installed.
    """

    def __init__(self, classes: Sequence[str], task: Task, kept: Sequence[int], tolerance: float) -> None:
        if not 0 <= tolerance < np.inf:
            raise UsageError(f"surface is {tolerance}; expected a tolerance of 0 or more, in mm (pixels of pictures)")
        require_monai()  # before hours of work
        super().__init__(classes, task, kept)
        self.tolerance = float(tolerance)

    def measured(self, guess: Mask, truth: Mask, spacing: Spacing) -> dict[str, Any]:
        """The distances of one class in one case."""
        surface = surface_between(guess, truth, self.tolerance, spacing)
        return {
            "state": _state(guess, truth),
            **{key: without_nan(value) for key, value in surface._asdict().items()},
        }

    def compute(self, units: NDArray[np.int64], unit: str) -> dict[str, Any]:
        """All figures so far, ready for JSON; null is undefined.

        Keys: ``tolerance``, ``unit`` (mm, px or voxels), ``per_class``, ``groups`` (the same averaged within each
        group first; None where there are none), ``images`` and ``definitions``.

        Args:
            units, unit: of ``segkit.evaluation.intervals.units_of``.
        """
        length = self._units.length
        per_class: dict[str, Any] = {}
        per_group: dict[str, Any] = {}
        for name in (self.classes[k] for k in self.kept):
            rows = [row[name] for _, row in self._rows]
            values = {key: np.array([row[key] for row in rows], np.float64) for key in FIGURES}  # None becomes NaN
            states = [row["state"] for row in rows]
            per_class[name] = {key: averages(each, "images") for key, each in values.items()}
            per_class[name] |= {state: states.count(state) for state in STATES}
            per_group[name] = {key: averages(unit_means(each, units), "groups") for key, each in values.items()}
        return {
            "tolerance": self.tolerance,
            "unit": length,
            "per_class": per_class,
            "groups": {"per_class": per_group} if unit == "group" else None,
            "images": [{"name": name, "per_class": row} for name, row in self._rows],
            "definitions": _definitions(f"{self.tolerance:g} {length}"),
        }


def _state(guess: Mask, truth: Mask) -> str:
    if truth.any():
        return "measured" if guess.any() else "missed"
    return "invented" if guess.any() else "absent"


def _definitions(tolerance: str) -> dict[str, str]:
    return {
        "hd95": "distances from each pixel of one mask's edge to the nearest of the other's: their 95th percentile, "
        "the larger of both directions; only where truth and prediction both hold the class",
        "asd": "mean of the same distances, those of both directions together (average symmetric surface distance)",
        "nsd": f"normalised surface distance (surface Dice): share of both edges, by their length or area, that is "
        f"within {tolerance} of the other; 0 where only one of truth and prediction holds the class",
        "measured": "images whose truth and prediction both hold the class",
        "missed": "images whose truth holds the class and whose prediction doesn't; they have no HD95 and no ASD",
        "invented": "images whose prediction holds the class and whose truth doesn't; they have no HD95 and no ASD",
        "absent": "images with the class in neither; left out everywhere",
        "groups": "the mean within each group, such as a patient, first; then over the groups",
    }
