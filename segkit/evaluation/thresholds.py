"""Which threshold gives the best Dice, from counts of probabilities alone."""

import numpy as np
from numpy.typing import NDArray

from segkit.evaluation.scores import Array, shares

STEPS = 1024
"""Thresholds tried are multiples of 1/1024: float32 holds them exactly, so that counting by them is exact too."""


class ThresholdCounts:
    """Foreground and background pixels by their probability, added up over images, for each of the sigmoid maps.

    Memory doesn't grow with the images.
    """

    def __init__(self, maps: int) -> None:
        self._pixels = np.zeros((maps, 2, STEPS + 1), np.int64)  # background, foreground; p = 1 has the last bin alone

    def update(self, probabilities: NDArray[np.float32], target: NDArray[np.uint8]) -> None:
        """Add the pixels of one image, or of some rows of it.

        Args:
            probabilities: [maps, H, W] in 0..1.
            target: 0/1 [H, W] for one map, else [maps, H, W]; 255 is not counted.
        """
        for counts, map_, true in zip(self._pixels, probabilities, target.reshape(probabilities.shape), strict=True):
            bins = (map_ * np.float32(STEPS)).astype(np.int64)  # exact: a power of two
            for label in (0, 1):
                counts[label] += np.bincount(bins[true == label], minlength=STEPS + 1)

    def dice(self) -> Array:
        """Pooled Dice [maps, 1025] of each map at thresholds 0, 1/1024, …, 1; NaN where it is undefined."""
        found = self._pixels[:, :, ::-1].cumsum(-1)[:, :, ::-1].astype(np.float64)  # pixels at or above each threshold
        fp, tp = found[:, 0], found[:, 1]
        missed = tp[:, :1] - tp
        return shares(2 * tp, 2 * tp + fp + missed)

    def best(self) -> list[float]:
        """Each map's threshold of the highest pooled Dice; of equal ones that nearest 0.5, which is also the default.

        Thresholds of 0 aren't tried: every pixel reaches them.
        """
        thresholds = np.arange(STEPS + 1) / STEPS
        chosen = []
        for dice in self.dice():
            tried = dice[1:]
            if np.isnan(tried).all() or np.nanmax(tried) == 0:
                chosen.append(0.5)
                continue
            equals = thresholds[1:][tried == np.nanmax(tried)]
            chosen.append(float(equals[np.abs(equals - 0.5).argmin()]))
        return chosen
