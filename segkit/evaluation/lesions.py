"""How many lesions were found, how many of the found ones are none, and how well the found ones are drawn."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from segkit.errors import UsageError
from segkit.evaluation.cases import CaseRows, Mask, Spacing, averages, unit_means, without_nan
from segkit.evaluation.scores import Array, shares
from segkit.task import Task

FIGURES = ("sensitivity", "precision", "f1", "dice", "false")


@dataclass(frozen=True)
class LesionRule:
    """What counts as a lesion, and as one that was found.

    Attributes:
        overlap: least IoU of a true lesion with the predicted one that finds it; 0 takes one common pixel.
        smallest: objects below this size don't count, in truth and prediction; mm³ (mm², pixels or voxels, see
            ``Units.size``).
    """

    overlap: float = 0.1
    smallest: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.overlap <= 1:
            raise UsageError(f"lesion overlap is {self.overlap}; expected an IoU of 0 to 1")
        if not 0 <= self.smallest < np.inf:
            raise UsageError(f"smallest lesion is {self.smallest}; expected a size of 0 or more")


@dataclass(frozen=True)
class Lesions:
    """The lesions of one class in one case.

    Attributes:
        true: how many there are.
        predicted: how many were predicted.
        dice: of each found one with what found it, the best first.
    """

    true: int
    predicted: int
    dice: tuple[float, ...]


def find_lesions(guess: Mask, truth: Mask, rule: LesionRule, spacing: Spacing = None) -> Lesions:
    """Which of the truth's connected objects the prediction's find, one by one.

    Pixels that touch, at a corner too, are one object (8 neighbours, 26 in volumes). Pairs are made from the largest
    IoU down, each object in one pair at most; a pair below the rule's overlap is none.

    Args:
        guess: the prediction, [H, W] or [I, J, K].
        truth: what it should be, of the same shape.
        rule: what counts.
        spacing: millimetres from one pixel to the next along each axis; None sizes objects in pixels.
    """
    voxel = float(np.prod(spacing)) if spacing is not None else 1.0
    true, true_sizes = _objects(truth, rule.smallest / voxel)
    predicted, predicted_sizes = _objects(guess, rule.smallest / voxel)
    both = (true > 0) & (predicted > 0)
    many = len(predicted_sizes)
    codes, common = np.unique(true[both].astype(np.int64) * many + predicted[both], return_counts=True)  # [P], pairs
    of_true, of_predicted = codes // many, codes % many
    sizes = true_sizes[of_true] + predicted_sizes[of_predicted]
    iou = common / (sizes - common)
    free_true, free_predicted = true_sizes > 0, predicted_sizes > 0
    dice = []
    for pair in np.argsort(-iou, kind="stable"):
        if iou[pair] < rule.overlap:
            break
        t, p = of_true[pair], of_predicted[pair]
        if free_true[t] and free_predicted[p]:
            free_true[t] = free_predicted[p] = False
            dice.append(float(2 * common[pair] / sizes[pair]))
    return Lesions(int(np.count_nonzero(true_sizes)), int(np.count_nonzero(predicted_sizes)), tuple(dice))


class LesionCounts(CaseRows[Lesions]):
    """Lesions of every class in every case, and how many of them were found.

    Args:
        classes: names by id.
        task: binary, multilabel or multiclass.
        kept: ids of the classes that aren't background.
        rule: what counts as a lesion, and as found.
    """

    def __init__(self, classes: Sequence[str], task: Task, kept: Sequence[int], rule: LesionRule) -> None:
        super().__init__(classes, task, kept)
        self.rule = rule

    def measured(self, guess: Mask, truth: Mask, spacing: Spacing) -> Lesions:
        """The lesions of one class in one case."""
        return find_lesions(guess, truth, self.rule, spacing)

    def compute(self, units: NDArray[np.int64], unit: str) -> dict[str, Any]:
        """All figures so far, ready for JSON; null is undefined.

        Keys: ``overlap``, ``smallest``, ``unit`` (of sizes), ``pooled``, ``mean_over_images``, ``groups`` (the means
        within each group first; None where there are none), ``images`` and ``definitions``.

        Args:
            units, unit: of ``segkit.evaluation.intervals.units_of``.
        """
        pooled: dict[str, Any] = {}
        means: dict[str, Any] = {}
        per_group: dict[str, Any] = {}
        rows: list[dict[str, Any]] = [{"name": name, "per_class": {}} for name, _ in self._rows]
        for name in (self.classes[k] for k in self.kept):
            found = [row[name] for _, row in self._rows]
            counts = np.array([[each.true, each.predicted, len(each.dice), sum(each.dice)] for each in found])  # [N, 4]
            pooled[name] = _figures(counts.sum(0, keepdims=True))[0]
            for row, figures in zip(rows, _figures(counts), strict=True):
                row["per_class"][name] = figures
            values = {
                key: np.array([row["per_class"][name][key] for row in rows], np.float64) for key in FIGURES
            }  # None becomes NaN
            means[name] = {key: averages(each, "images") for key, each in values.items()}
            per_group[name] = {key: averages(unit_means(each, units), "groups") for key, each in values.items()}
        return {
            "overlap": self.rule.overlap,
            "smallest": self.rule.smallest,
            "unit": self._units.size,
            "pooled": {"per_class": pooled},
            "mean_over_images": {"per_class": means},
            "groups": {"per_class": per_group} if unit == "group" else None,
            "images": rows,
            "definitions": self._definitions(),
        }

    def _definitions(self) -> dict[str, str]:
        enough = f"an IoU of at least {self.rule.overlap:g}" if self.rule.overlap else "at least one common pixel"
        smaller = f"; those below {self.rule.smallest:g} {self._units.size} don't count" if self.rule.smallest else ""
        return {
            "lesion": f"pixels of the class that touch, at a corner too{smaller}",
            "found": f"a true lesion is found by a predicted one with {enough}; pairs are made from the largest IoU "
            "down, each lesion in one pair at most",
            "false": "predicted lesions that find none, also a second piece of one that is found already",
            "sensitivity": "found / true lesions",
            "precision": "found / predicted lesions",
            "f1": "2 · found / (true + predicted lesions)",
            "dice": "mean over the found lesions of the Dice of each with the predicted one",
            "pooled": "the lesions of all images together",
            "mean_over_images": "each image by itself; the mean over those where the figure is defined",
            "groups": "the mean within each group, such as a patient, first; then over the groups",
        }


def _objects(mask: Mask, smallest: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Labels of the mask's connected objects, and the size of each in pixels, 0 of those that don't count."""
    labels, _ = ndimage.label(mask, np.ones((3,) * mask.ndim))
    sizes = np.bincount(labels.ravel(), minlength=1)
    sizes[0] = 0
    sizes[sizes < smallest * (1 - 1e-9)] = 0  # a size in mm³ is rounded
    return np.where((sizes > 0)[labels], labels, 0), sizes


def _figures(counts: Array) -> list[dict[str, Any]]:
    """Counts and scores of each row of counts [N, 4]: true, predicted and found lesions, and the sum of their Dice."""
    true, predicted, found, dice = counts.T
    scores = {
        "sensitivity": shares(found, true),
        "precision": shares(found, predicted),
        "f1": shares(2 * found, true + predicted),
        "dice": shares(dice, found),
    }
    whole = {"true": true, "predicted": predicted, "found": found, "false": predicted - found}
    return [
        {key: int(values[i]) for key, values in whole.items()}
        | {key: without_nan(values[i]) for key, values in scores.items()}
        for i in range(len(counts))
    ]
