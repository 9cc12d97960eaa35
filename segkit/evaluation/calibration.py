"""Whether probabilities mean what they say: of pixels called 80 % sure, are 80 % right?"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit

from segkit.data.masks import IGNORE
from segkit.task import Task

BINS = 15  # as in Guo et al., and in torchmetrics by default
FINE, STEEPEST = 1 << 13, 20.0  # bins that those of equal mass are put together from, evenly in logits of ±20
SMALLEST = float(np.finfo(np.float32).eps)  # a probability below it counts as it: no pixel costs more than 15.9 nats

Array = NDArray[np.float64]


class Calibration:
    """Histograms of confidence against truth, added up over images, and the figures that follow from them.

    What is binned, for ``binary`` and, map by map, for ``multilabel``: the foreground's probability, against the share
    of pixels that are foreground. For ``multiclass``: the probability of the most probable class, against the share of
    pixels where it is the true one (Guo et al., ICML 2017). Memory doesn't grow with the images.

    Args:
        task: binary, multilabel or multiclass.
        maps: probability maps a pixel.
        bins: of equal width over 0..1, the last one with 1 itself; of equal mass, as many again.
    """

    def __init__(self, task: Task, maps: int, bins: int = BINS) -> None:
        self.task, self.bins = task, bins
        rows = 1 if task == "multiclass" else maps
        self._binned: Array = np.zeros((rows, 3, bins))  # pixels, sum of confidence, pixels that are right
        self._fine: Array = np.zeros((rows, 3, FINE))
        self._losses: Array = np.zeros((rows, 2))  # sums of squared errors and of -ln p of the truth

    def update(self, probabilities: NDArray[np.float32], target: NDArray[np.uint8]) -> None:
        """Add the pixels of one image, or of some rows of it.

        Args:
            probabilities: [maps, H, W] in 0..1.
            target: ids [H, W], or 0/1 maps [K, H, W] for multilabel; 255 is not counted.
        """
        if self.task == "multiclass":
            counted = target != IGNORE
            p, truth = probabilities[:, counted].astype(np.float64), target[counted]  # [K, n] and [n]
            of_truth = np.take_along_axis(p, truth[None].astype(np.int64), axis=0)[0]
            squared = (p * p).sum(0) - 2 * of_truth + 1  # Σₖ (pₖ - yₖ)²
            self._add(0, p.max(0), p.argmax(0) == truth, squared, of_truth)
            return
        maps = target[None] if self.task == "binary" else target
        for row, (map_, true) in enumerate(zip(probabilities, maps, strict=True)):
            counted = true != IGNORE
            p, right = map_[counted].astype(np.float64), true[counted] == 1
            self._add(row, p, right, (p - right) ** 2, np.where(right, p, 1 - p))

    def compute(self, classes: tuple[str, ...]) -> dict[str, Any]:
        """Figures so far, ready for JSON: ``ece``, ``adaptive_ece``, ``brier``, ``nll`` and ``bins``; None where empty.

        For multilabel they are in ``per_class``, by ``classes``, with their means over the classes beside it.
        """
        rows = [self._figures(row) for row in range(len(self._binned))]
        if self.task != "multilabel":
            return {**rows[0], "definitions": self._definitions()}
        means = {}
        for key in ("ece", "adaptive_ece", "brier", "nll"):
            defined = [row[key] for row in rows if row[key] is not None]
            means[key] = sum(defined) / len(defined) if defined else None
        return {**means, "per_class": dict(zip(classes, rows, strict=True)), "definitions": self._definitions()}

    def _add(self, row: int, confidence: Array, right: NDArray[np.bool_], squared: Array, of_truth: Array) -> None:
        into = np.minimum((confidence * self.bins).astype(np.int64), self.bins - 1)
        steep = logit(confidence.clip(0, 1)).clip(-STEEPEST, STEEPEST)  # a softmax may exceed 1 by rounding
        finely = ((steep / STEEPEST + 1) * ((FINE - 1) / 2)).astype(np.int64)
        for i, weights in enumerate((None, confidence, right)):
            self._binned[row, i] += np.bincount(into, weights, minlength=self.bins)
            self._fine[row, i] += np.bincount(finely, weights, minlength=FINE)
        self._losses[row] += squared.sum(), -np.log(np.maximum(of_truth, SMALLEST)).sum()

    def _figures(self, row: int) -> dict[str, Any]:
        pixels, confidence, right = self._binned[row]
        count = pixels.sum()
        squared, nats = (self._losses[row] / count).tolist() if count else (None, None)
        bins = [
            {
                "from": i / self.bins,
                "to": (i + 1) / self.bins,
                "pixels": int(n),
                "confidence": float(c / n) if n else None,
                "right": float(r / n) if n else None,
            }
            for i, (n, c, r) in enumerate(zip(pixels, confidence, right, strict=True))
        ]
        ece = float(np.abs(confidence - right).sum() / count) if count else None
        return {"ece": ece, "adaptive_ece": self._adaptive(row), "brier": squared, "nll": nats, "bins": bins}

    def _adaptive(self, row: int) -> float | None:
        """The same distance over bins that all hold equally many pixels; a fine bin on an edge is shared out."""
        pixels = self._fine[row, 0]
        if not pixels.sum():
            return None
        edges = np.concatenate([[0], pixels.cumsum()])
        at = np.linspace(0, edges[-1], self.bins + 1)
        confidence, right = (np.interp(at, edges, np.concatenate([[0], s.cumsum()])) for s in self._fine[row, 1:])
        return float(np.abs(np.diff(confidence) - np.diff(right)).sum() / edges[-1])

    def _definitions(self) -> dict[str, str]:
        means = "; the mean over the classes" if self.task == "multilabel" else ""
        if self.task == "multiclass":
            what, right = "the most probable class's probability", "pixels where that class is the true one"
            brier = "sum over the classes of the squared difference between probability and truth (0..2)"
        else:
            what, right = "the foreground's probability", "pixels that are foreground"
            brier = "squared difference between the foreground's probability and the truth, 0 or 1"
        return {
            "ece": f"expected calibration error: pixels in {self.bins} bins of equal width by {what}; the distance "
            f"between its mean and the share of {right}, weighted by the bins' pixels{means}. 0 is best",
            "adaptive_ece": f"adaptive calibration error: the same with {self.bins} bins that hold equally many pixels "
            f"each{means}. 0 is best",
            "brier": f"{brier}, mean over the pixels{means}. 0 is best",
            "nll": f"negative log-likelihood: -ln of the probability given to the truth, in nats, mean over the "
            f"pixels{means}; probabilities below {SMALLEST:.2g} count as that. 0 is best",
        }
