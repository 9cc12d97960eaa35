"""A threshold chosen on one split and judged on another."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segkit.artifact import AnyModel
from segkit.data.folder import DatasetFolder, Sample
from segkit.errors import UsageError
from segkit.evaluation.looks import Threshold, count_thresholds
from segkit.evaluation.scores import Array
from segkit.evaluation.thresholds import STEPS, ThresholdCounts
from segkit.prediction.predictor import Predictor

DRAWN = 8  # of the curve of Dice by threshold every eighth point is kept


@dataclass(frozen=True)
class ChosenThreshold:
    """The threshold, or one a class, with the highest pooled Dice on a split.

    Attributes:
        split: the one it was chosen on.
        images: how many it has.
        before: the threshold it is compared with.
        thresholds: what was chosen, one a map.
        counts: pixels of that split by their probability.
        scored: the same of the split that is scored, to be counted yet.
    """

    split: str
    images: int
    before: float
    thresholds: list[float]
    counts: ThresholdCounts
    scored: ThresholdCounts

    @property
    def by_map(self) -> Threshold:
        """The thresholds as ``labels_of`` takes them: a number, or [K, 1, 1]."""
        if len(self.thresholds) == 1:
            return self.thresholds[0]
        found: NDArray[np.float32] = np.array(self.thresholds, np.float32)[:, None, None]
        return found

    def figures(self, classes: Sequence[str], scores: dict[str, Any]) -> dict[str, Any]:
        """What the report says of it, ready for JSON.

        Args:
            classes: names by id; the last ones are those of the maps.
            scores: at the chosen thresholds, on the scored split.
        """
        there, here = self.counts.dice(), self.scored.dice()
        per_class = {
            name: {
                "threshold": chosen,
                "dice_there": _at(there[k], chosen),
                "dice_there_before": _at(there[k], self.before),
                "curve_there": _curve(there[k]),
                "curve_here": _curve(here[k]),
            }
            for k, (name, chosen) in enumerate(
                zip(classes[len(classes) - len(self.thresholds) :], self.thresholds, strict=True)
            )
        }
        shown = {key: scores[key] for key in ("pooled", "mean_over_images", "intervals")}
        return {"split": self.split, "images": self.images, "before": self.before, "per_class": per_class, **shown}


def check_choice(
    folder: DatasetFolder, samples: Sequence[Sample], split: str, chosen_on: str | None, *, is_model: bool
) -> list[Sample]:
    """The samples to choose a threshold on; none where none is to be chosen.

    Raises:
        UsageError: it has no meaning here, or the choice would be judged on pictures it was made on.
    """
    if chosen_on is None:
        return []
    if not is_model:
        raise UsageError("a threshold can't be chosen for masks: they have no probabilities")
    if folder.task == "multiclass":
        raise UsageError("a threshold can't be chosen for the multiclass task: the most probable class wins")
    if chosen_on == split:
        raise UsageError(
            f"the threshold can't be chosen on {split!r}, the split that is scored: it would fit these very images; "
            "choose it on another one, such as val"
        )
    if "+" in chosen_on and chosen_on not in folder.splits:
        raise UsageError(f"the threshold is chosen on one split; {chosen_on!r} names several")
    found = folder.samples(chosen_on)
    shared = sorted({sample.name for sample in found} & {sample.name for sample in samples})
    if shared:
        raise UsageError(
            f"the threshold can't be chosen on {chosen_on!r}: it shares {len(shared)} "
            f"picture{'s' * (len(shared) > 1)} with {split!r}, for example {shared[0]}"
        )
    return found


def choose_threshold(
    model: AnyModel,
    predictor: Predictor,
    folder: DatasetFolder,
    samples: Sequence[Sample],
    split: str,
    before: float,
    progress: Callable[[str], None],
) -> ChosenThreshold:
    """The thresholds with the highest pooled Dice on these samples, one a map."""
    counts = count_thresholds(model, predictor, folder, samples, progress)
    return ChosenThreshold(split, len(samples), before, counts.best(), counts, ThresholdCounts(model.maps))


def _at(dice: Array, threshold: float) -> float | None:
    """Dice at the nearest threshold that was counted."""
    value = float(dice[round(threshold * STEPS)])
    return None if np.isnan(value) else value


def _curve(dice: Array) -> list[list[float]]:
    """Pairs of threshold and Dice, to draw."""
    return [[i / STEPS, float(dice[i])] for i in range(DRAWN, STEPS + 1 - DRAWN, DRAWN) if not np.isnan(dice[i])]
