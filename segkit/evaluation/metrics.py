"""Segmentation scores from exact pixel counts, each under a name that says what was averaged over what."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from segkit.data.masks import IGNORE
from segkit.errors import DataError, UsageError
from segkit.evaluation.scores import CLASS_SCORES, defined, mean_of_defined, overlap_scores
from segkit.task import Task

Counts = NDArray[np.int64]
MEANS = ("mean_iou", "mean_iou_without_background", "mean_dice", "mean_dice_without_background")


class SegmentationMetrics:
    """Pixel counts of every image added up, and the scores that follow from them.

    Memory doesn't grow with the images, but for one small row each.

    Args:
        classes: names by id. For the binary task the last is the foreground; a single name is the foreground's.
        task: "binary", "multilabel" or "multiclass".
        background: id of the background, or None. The binary task's is always 0.
        threshold: probability from which a pixel is foreground, where ``update`` is given probabilities.
    """

    def __init__(self, classes: Sequence[str], task: Task, background: int | None, threshold: float = 0.5) -> None:
        if task not in ("binary", "multilabel", "multiclass"):
            raise UsageError(f"task is {task!r}; expected binary, multilabel or multiclass")
        if task == "binary":
            if not 1 <= len(classes) <= 2:
                raise UsageError(f"{len(classes)} classes named; the binary task has a background and a foreground")
            classes, background = ["background", *classes][-2:], 0
        if background is not None and not 0 <= background < len(classes):
            raise UsageError(f"background is {background}; expected an id in 0..{len(classes) - 1} or None")
        self.classes, self.task, self.background, self.threshold = tuple(classes), task, background, threshold
        maps = len(self.classes)
        self._confusion: Counts = np.zeros((maps, maps), np.int64)  # rows truth, columns prediction; of ids only
        self._pooled: Counts = np.zeros((4, maps), np.int64)  # TP, FP, FN, TN of every class
        self._rows: list[tuple[str, Counts, int]] = []  # name, the same for one image, its counted pixels

    def update(self, name: str, labels: NDArray[Any] | Tensor, target: NDArray[Any] | Tensor) -> Counts:
        """Count one image, and give its own counts: TP, FP, FN, TN of every class, int64 [4, classes].

        What comes under the name of the image before is a part of that image, such as a slice of a volume.

        Args:
            name: of the image, for its row and for errors.
            labels: predicted ids [H, W] (binary: 0 and 1), or 0/1 maps [K, H, W] for multilabel. Where they are
                floating-point they are foreground probabilities and the threshold decides (not for multiclass).
            target: true ids [H, W], or 0/1 maps [K, H, W] for multilabel; 255 is not counted.

        Raises:
            DataError: naming the image, where shapes differ or an id is not a class.
        """
        guess, truth = _as_array(labels), _as_array(target)
        dimensions = 3 if self.task == "multilabel" else 2
        expected = f"[{len(self.classes)}, H, W]" if dimensions == 3 else "[H, W]"
        if truth.ndim != dimensions or (dimensions == 3 and len(truth) != len(self.classes)):
            raise DataError(f"{name}: target is {list(truth.shape)}; expected {expected}")
        if guess.shape != truth.shape:
            raise DataError(f"{name}: labels are {list(guess.shape)}, the target is {list(truth.shape)}")
        if guess.dtype.kind == "f":
            if self.task == "multiclass":
                raise DataError(f"{name}: labels are {guess.dtype}; expected class ids (the argmax of probabilities)")
            guess = guess >= self.threshold
        if dimensions == 3:
            self._count_maps(name, guess, truth)
        else:
            self._count_ids(name, guess, truth)
        return self._rows[-1][1]

    @property
    def kept(self) -> list[int]:
        """Ids of the classes that aren't background."""
        return [k for k in range(len(self.classes)) if k != self.background]

    @property
    def counts(self) -> Counts:
        """TP, FP, FN and TN of every class in every image, int64 [images, 4, classes]."""
        return np.array([counts for _, counts, _ in self._rows], np.int64).reshape(-1, *self._pooled.shape)

    def compute(self) -> dict[str, Any]:
        """All scores so far, ready for JSON: a score that has no pixels to speak of is None, never NaN or 1.

        Keys: ``pooled``, ``mean_over_images``, ``confusion`` (None for multilabel), ``images``, ``definitions``, and
        the settings ``task``, ``classes``, ``background``, ``threshold``.
        """
        tp, _, fn, tn = self._pooled
        scores = {name: defined(np.atleast_1d(each)) for name, each in overlap_scores(self._pooled, self.kept).items()}
        if self.task == "multilabel":
            right, all_counted = int((tp + tn).sum()), int(self._pooled.sum())
        else:
            right, all_counted = int(np.trace(self._confusion)), int(self._confusion.sum())
        means = dict.fromkeys(MEANS) | {name: each[0] for name, each in scores.items() if name in MEANS}
        if self.background is None:
            means |= {name: None for name in MEANS if name.endswith("_without_background")}
        return {
            "task": self.task,
            "classes": list(self.classes),
            "background": self.background,
            "threshold": self.threshold,
            "pooled": {
                "per_class": {
                    name: {
                        **{score: scores[score][k] for score in CLASS_SCORES},
                        "support": int(tp[k] + fn[k]),
                    }
                    for k, name in enumerate(self.classes)
                },
                **means,
                "pixel_accuracy": right / all_counted if all_counted else None,
            },
            "mean_over_images": {"per_class": self._means_over_images()},
            "confusion": None if self.task == "multilabel" else self._confusion.tolist(),
            "images": [self._row(name, counts, pixels) for name, counts, pixels in self._rows],
            "definitions": self._definitions(),
        }

    def _count_ids(self, name: str, guess: NDArray[Any], truth: NDArray[Any]) -> None:
        counted = truth != IGNORE
        guess, truth = guess[counted], truth[counted]
        self._check_ids(f"{name}: prediction", guess)
        self._check_ids(f"{name}: target", truth)
        maps = len(self.classes)
        pairs = truth.astype(np.int64) * maps + guess.astype(np.int64)
        confusion = np.bincount(pairs, minlength=maps * maps).reshape(maps, maps).astype(np.int64)
        tp = np.diagonal(confusion)
        fp, fn = confusion.sum(axis=0) - tp, confusion.sum(axis=1) - tp
        self._confusion += confusion
        self._add(name, np.stack([tp, fp, fn, pairs.size - tp - fp - fn]), pairs.size)

    def _count_maps(self, name: str, guess: NDArray[Any], truth: NDArray[Any]) -> None:
        counted = truth != IGNORE
        for what, values in (("prediction", guess[counted]), ("target", truth[counted])):
            wrong = values[(values != 0) & (values != 1)]
            if wrong.size:
                raise DataError(f"{name}: {what} holds {wrong[0]}; a multilabel map is 0 or 1, and 255 to ignore")
        yes, true = (guess == 1) & counted, truth == 1
        tp, all_yes, all_true, all_counted = (
            np.count_nonzero(m, axis=(1, 2)) for m in (yes & true, yes, true, counted)
        )
        fp, fn = all_yes - tp, all_true - tp
        pixels = int(np.count_nonzero(counted.any(axis=0)))
        self._add(name, np.stack([tp, fp, fn, all_counted - tp - fp - fn]).astype(np.int64), pixels)

    def _add(self, name: str, counts: Counts, pixels: int) -> None:
        self._pooled += counts
        if self._rows and self._rows[-1][0] == name:
            _, before, already = self._rows.pop()
            counts, pixels = counts + before, pixels + already
        self._rows.append((name, counts, pixels))

    def _check_ids(self, what: str, ids: NDArray[Any]) -> None:
        if ids.dtype.kind not in "bui":
            raise DataError(f"{what} is {ids.dtype}; expected whole class ids")
        if ids.size and (ids.min() < 0 or ids.max() >= len(self.classes)):
            wrong = ids[(ids < 0) | (ids >= len(self.classes))][0]
            names = ", ".join(self.classes)
            of_two = wrong == IGNORE and len(self.classes) == 2
            meant = "; 255 is foreground only where all masks hold nothing else but 0" if of_two else ""
            raise DataError(f"{what} holds class id {wrong}; classes are 0..{len(self.classes) - 1} ({names}){meant}")

    def _means_over_images(self) -> dict[str, dict[str, float | int | None]]:
        counts = np.stack([counts for _, counts, _ in self._rows]) if self._rows else np.zeros((0, *self._pooled.shape))
        scores = overlap_scores(counts, self.kept)
        iou, dice = (defined(mean_of_defined(scores[name].T)) for name in ("iou", "dice"))
        occurs = (~np.isnan(scores["iou"])).sum(0)
        return {name: {"iou": iou[k], "dice": dice[k], "images": int(occurs[k])} for k, name in enumerate(self.classes)}

    def _row(self, name: str, counts: Counts, pixels: int) -> dict[str, Any]:
        scores = overlap_scores(counts, self.kept)
        iou, dice = (dict(zip(self.classes, defined(scores[each]), strict=True)) for each in ("iou", "dice"))
        return {"name": name, "dice": dice, "iou": iou, "pixels": pixels}

    def _definitions(self) -> dict[str, str]:
        entries = "pairs of pixel and class" if self.task == "multilabel" else "pixels"
        occurring = "the mean over the classes that occur in truth or prediction"
        definitions = {
            "pooled": "counts of all images are added first, and scored once",
            "mean_over_images": "each image is scored, and the mean taken over the images where the class occurs in "
            "truth or prediction; 'images' says how many these are",
            **{key: score.definition for key, score in CLASS_SCORES.items()},
            "support": "pixels of the class in the truth",
            "mean_iou": f"{occurring}, the background included",
            "mean_iou_without_background": f"{occurring}, the background left out; null where none is named",
            "mean_dice": f"{occurring}, the background included",
            "mean_dice_without_background": f"{occurring}, the background left out; null where none is named",
            "pixel_accuracy": f"share of the counted {entries} that are right",
            "confusion": "pixel counts; rows are the truth, columns the prediction, in the order of the classes",
            "pixels": "pixels counted; those marked 255 in the truth never are",
            "null": "undefined: there is nothing to divide by, as for a class that occurs nowhere",
        }
        if self.task != "multiclass":
            definitions["threshold"] = "probability from which a pixel is foreground"
        return definitions


def headline(result: dict[str, Any]) -> tuple[str, float]:
    """Name and value of the one score to compare models by, from ``SegmentationMetrics.compute``.

    The foreground's pooled Dice for binary; otherwise the pooled mean IoU, without background where one is named. NaN
    where that is undefined.
    """
    pooled = result["pooled"]
    if result["task"] == "binary":
        foreground = result["classes"][1]
        name, value = f"Dice of {foreground}, pooled", pooled["per_class"][foreground]["dice"]
    elif result["background"] is None:
        name, value = "mean IoU, pooled", pooled["mean_iou"]
    else:
        name, value = "mean IoU without background, pooled", pooled["mean_iou_without_background"]
    return name, float("nan") if value is None else value


def _as_array(values: NDArray[Any] | Tensor) -> NDArray[Any]:
    return values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
