"""Whether a model knows where it is wrong: errors against uncertainty, pixel by pixel."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import psi

from segkit.data.masks import IGNORE
from segkit.statistics import entropy, maximum_entropy
from segkit.task import Task

BINS = 1 << 14
FINEST = 4.0  # bins are of equal width in the fourth root of uncertainty: most pixels are nearly sure
MOST_UNCERTAIN = 0.1  # share of the pixels whose errors are counted apart
POINTS = 50  # of a curve that is drawn

Array = NDArray[np.float64]


class Selective:
    """Counts of pixels and errors by uncertainty, added up over images, and the figures that follow from them.

    A pixel's uncertainty is the entropy of its probabilities; for ``multilabel`` every map's value is one of its own.
    Pixels of one bin of 16,384 count as equally uncertain. Memory doesn't grow with the images.

    Args:
        task: binary, multilabel or multiclass.
        maps: probability maps a pixel.
    """

    def __init__(self, task: Task, maps: int) -> None:
        self.task = task
        self._largest = maximum_entropy(task, maps)
        self._counts: Array = np.zeros((2, BINS))  # pixels, and those that are wrong; from the most certain on

    def update(self, probabilities: NDArray[np.float32], labels: NDArray[np.uint8], target: NDArray[np.uint8]) -> None:
        """Add the pixels of one image, or of some rows of it.

        Args:
            probabilities: [maps, H, W] in 0..1.
            labels: what is made of them, ids [H, W], or 0/1 maps [K, H, W] for multilabel.
            target: the truth, laid out like the labels; 255 is not counted.
        """
        counted = target != IGNORE
        maps = torch.from_numpy(np.ascontiguousarray(probabilities))
        # [K, 1, H, W]: each map of a multilabel task as an image by itself
        nats = entropy(maps[:, None], "binary") if self.task == "multilabel" else entropy(maps[None], self.task)[0]
        unsure = (nats.numpy()[counted] / self._largest).clip(0, 1) ** (1 / FINEST)
        into = np.minimum((unsure * BINS).astype(np.int64), BINS - 1)
        wrong = labels[counted] != target[counted]
        for i, weights in enumerate((None, wrong)):
            self._counts[i] += np.bincount(into, weights, minlength=BINS)

    def compute(self) -> dict[str, Any]:
        """Figures so far, ready for JSON; None where nothing was counted.

        ``aurc`` is the area under the risk-coverage curve, ``errors_in_most_uncertain`` the share of all errors among
        the most uncertain tenth of the pixels, and ``curve`` pairs of coverage and risk.
        """
        pixels, wrong = self._counts[:, self._counts[0] > 0]
        total, errors = pixels.sum(), wrong.sum()
        defined = {
            "aurc": "area under the risk-coverage curve: the share of wrong pixels among the most certain c, by the "
            "entropy of the probabilities, averaged over all c from 0 to 1. 0 is best",
            "errors_in_most_uncertain": f"share of all wrong pixels that lie among the {MOST_UNCERTAIN:.0%} with the "
            f"largest entropy. {MOST_UNCERTAIN:g} is no better than chance; 1 is best, or where more than "
            f"{MOST_UNCERTAIN:.0%} of the pixels are wrong {MOST_UNCERTAIN:g} over that share",
        }
        if not total:
            return {"aurc": None, "errors_in_most_uncertain": None, "curve": [], "definitions": defined}
        before, wrong_before = np.cumsum(pixels) - pixels, np.cumsum(wrong) - wrong
        # Of equally uncertain pixels in random order the t-th, after n with e wrong ones, is met at a risk of
        # (e + t·rate) / (n + t) in expectation: their sum has a closed form.
        rate = wrong / pixels
        areas = wrong + (wrong_before - rate * before) * (psi(before + pixels + 1) - psi(before + 1))
        sure = np.interp((1 - MOST_UNCERTAIN) * total, np.append(before, total), np.append(wrong_before, errors))
        at = np.linspace(0, total, POINTS + 1)[1:]
        risks = np.interp(at, np.append(before, total), np.append(wrong_before, errors)) / at
        return {
            "aurc": float(areas.sum() / total),
            "errors_in_most_uncertain": float(1 - sure / errors) if errors else None,
            "curve": [[float(c), float(r)] for c, r in zip(at / total, risks, strict=True)],
            "definitions": defined,
        }
