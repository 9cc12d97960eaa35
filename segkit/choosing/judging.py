"""Whether a step is kept, by the Dice of cases with and without it."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segkit.evaluation.scores import mean_of_defined

Scores = NDArray[np.float64]

FOLDS = 5
NOISE = 1e-9  # of floating point


@dataclass(frozen=True)
class Ruling:
    """What is said of a step.

    Attributes:
        best: number of the best of the values tried.
        kept: whether it is kept.
        reason: why, or why not.
        better, changed: cases whose mean Dice rises by it, and those in which it changes any Dice.
    """

    best: int
    kept: bool
    reason: str
    better: int
    changed: int


def rule(before: Scores, candidates: Scores, units: NDArray[np.int64]) -> Ruling:
    """Whether the best of the values tried is better than nothing, also on cases that it wasn't chosen on.

    It is kept if the mean Dice rises, no class's falls, and the mean of more than half of the cases that change, and of
    two at least, rises.
    All this must hold for the best value on all cases; and again where each fifth of the cases is judged by the value
    that is best on the others.

    A class's mean is over the cases where it occurs in truth or prediction; the mean, over the classes. A case's is
    over the classes, where a class that is rightly not found counts as 1.

    Args:
        before: Dice of each case and class, [N, K]; NaN where the class is in neither truth nor prediction.
        candidates: the same by each value, [C, N, K], the mildest first: it is taken of equal ones.
        units: of each case, [N]; those of one, such as a patient's, are never on both sides.
    """
    everywhere = np.ones(len(before), np.bool_)
    best = _best(candidates, everywhere)
    folds = list(_folds(units))
    held_out = before.copy()
    for outside in folds:
        held_out[outside] = candidates[_best(candidates, ~outside), outside]
    better, changed = _better(before, candidates[best])
    fault = _fault(before, candidates[best])
    if fault is None and not folds:
        fault = "there is one case, or one group, alone: nothing to judge a choice by"
    if fault is None and len(candidates) > 1:
        fault = _fault(before, held_out)
        fault = None if fault is None else f"on cases that its value wasn't chosen on, {fault}"
    gain = mean_dice(candidates[best]) - mean_dice(before)
    reason = fault or f"mean Dice {gain:+.4f}, better in {better} of {changed} cases that change"
    return Ruling(best, fault is None, reason, better, changed)


def class_means(dice: Scores) -> Scores:
    """Mean over the cases of each class, [K], of Dice [N, K]; NaN where it occurs in none."""
    return mean_of_defined(dice.T)


def mean_dice(dice: Scores) -> float:
    """Mean over the classes of :func:`class_means`; a class that rightly isn't found anywhere counts as 1."""
    return float(_whole(class_means(dice)).mean())


def _fault(before: Scores, after: Scores) -> str | None:
    """Why a step isn't to be kept; None where it is."""
    better, changed = _better(before, after)
    if not changed:
        return "it changes no score"
    if mean_dice(after) <= mean_dice(before) + NOISE:
        return f"the mean Dice doesn't rise ({mean_dice(after) - mean_dice(before):+.4f})"
    if (_whole(class_means(after)) < _whole(class_means(before)) - NOISE).any():
        return "the mean Dice of a class falls"
    if 2 * better <= changed:
        return f"{better} of the {changed} cases that change are better, not more than half"
    return "one case alone is better: too little to go by" if better < 2 else None


def _better(before: Scores, after: Scores) -> tuple[int, int]:
    """Cases whose mean rises, and cases that change."""
    changed = (np.abs(_whole(after) - _whole(before)) > NOISE).any(1)
    return int((_whole(after).mean(1) > _whole(before).mean(1) + NOISE).sum()), int(changed.sum())


def _best(candidates: Scores, among: NDArray[np.bool_]) -> int:
    means = [mean_dice(dice[among]) for dice in candidates]
    return int(np.argmax(np.array(means) >= max(means) - NOISE))


def _folds(units: NDArray[np.int64]) -> Iterator[NDArray[np.bool_]]:
    """Which cases to judge by, at most five times; never where all are of one unit."""
    different = np.random.default_rng(0).permutation(np.unique(units))
    count = min(FOLDS, len(different)) if len(different) > 1 else 0
    for start in range(count):
        yield np.isin(units, different[start::count])


def _whole(dice: Scores) -> Scores:
    """Dice with 1 where there rightly is nothing."""
    return np.where(np.isnan(dice), 1.0, dice)
