"""Scores of many sets of counts at once, and the one score that an image is judged by."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from segkit.task import Task

Array = NDArray[np.float64]


class ClassScore(NamedTuple):
    """A score of one class: how it is shown, and its definition."""

    shown: str
    definition: str


CLASS_SCORES = {
    "dice": ClassScore("Dice", "2·TP / (2·TP + FP + FN), also called F1"),
    "iou": ClassScore("IoU", "TP / (TP + FP + FN)"),
    "precision": ClassScore("precision", "TP / (TP + FP)"),
    "recall": ClassScore("recall", "TP / (TP + FN), also called sensitivity"),
}
"""Scores of a class by their keys, in the order of tables; :func:`overlap_scores` computes them."""

PER_IMAGE = ("dice", "iou")  # those of which a mean over images is given as well


def overlap_scores(counts: NDArray[np.generic], kept: Sequence[int]) -> dict[str, Array]:
    """Scores of counts [..., 4, K] (TP, FP, FN, TN): a class's [..., K], means over classes [...]; undefined is NaN.

    The keys and definitions are those of ``SegmentationMetrics.compute``.

    Args:
        counts: of any number of images, or pooled ones; not necessarily whole numbers.
        kept: ids of the classes that aren't background.
    """
    tp, fp, fn, _ = np.moveaxis(counts.astype(np.float64), -2, 0)
    iou, dice = shares(tp, tp + fp + fn), shares(2 * tp, 2 * tp + fp + fn)
    means = {"mean_dice": dice, "mean_iou": iou}
    if len(kept) < counts.shape[-1]:
        means |= {f"{name}_without_background": values[..., kept] for name, values in list(means.items())}
    return {
        "dice": dice,
        "iou": iou,
        "precision": shares(tp, tp + fp),
        "recall": shares(tp, tp + fn),
        **{name: mean_of_defined(values) for name, values in means.items()},
    }


def image_scores(counts: NDArray[np.int64], task: Task, kept: Sequence[int]) -> Array:
    """The one score by which an image is judged, [N], of counts [N, 4, K]; NaN where it is undefined.

    Binary: the foreground's Dice. Otherwise the mean IoU of the classes that occur in the image's truth or prediction,
    the background left out where one is named.
    """
    scores = overlap_scores(counts, kept)
    return scores["dice"][:, 1] if task == "binary" else mean_of_defined(scores["iou"][:, kept])


def image_score_name(task: Task, classes: Sequence[str], background: int | None) -> str:
    """What :func:`image_scores` are, in words."""
    if task == "binary":
        return f"Dice of {classes[1]}"
    return "mean IoU" if background is None else "mean IoU without background"


def written(score: float | None) -> str:
    """A score as text: four digits, or a dash where it is undefined."""
    return "–" if score is None else f"{score:.4f}"


def shares(parts: Array, wholes: Array) -> Array:
    """Parts of wholes, NaN where a whole is 0."""
    undefined = np.full(np.broadcast_shapes(parts.shape, wholes.shape), np.nan)
    divided: Array = np.divide(parts, wholes, out=undefined, where=wholes > 0)
    return divided


def mean_of_defined(values: Array) -> Array:
    """Mean over the last axis of what is not NaN; NaN where nothing is defined."""
    there = ~np.isnan(values)
    return shares(np.where(there, values, 0).sum(-1), there.sum(-1).astype(np.float64))


def defined(values: Array) -> list[float | None]:
    """Scores [N] ready for JSON, None where one is undefined."""
    return [None if np.isnan(value) else float(value) for value in values]
