"""Dice expected of a prediction from its own signs: a ridge regression, and how far off it has been."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

PENALTIES = (0.1, 1.0, 10.0, 100.0)
FOLDS = 10
FEWEST = 10  # images to fit on
MOST_KEPT = 2000  # of the errors that bounds are read from

Array = NDArray[np.float64]


class Quality(BaseModel):
    """A fitted regression of an image's Dice on its signs, as it is kept with a model.

    Attributes:
        signs: their names, in order.
        centre, scale: of each sign, by which it is brought to mean 0 and deviation 1.
        slopes, intercept: of the brought ones.
        errors: true minus predicted Dice of images that were held out of each fit, rising.
        shares: of all units, the next one among them, that may lie below each error: those that do, an image as the
            part of its unit that it is, and the next.
        cut: the predicted Dice from which on a prediction is accepted; None: none ever is.
        accepted: share of the held-out images that it accepts.
        worse: share of those accepted whose Dice is not good; None where none is accepted.
        correlation: Pearson's, of the same predictions with the truth.
        mean_error: mean absolute error of the same.
        images: how many.
        units: how many patients, or other groups, they are of; themselves where they are in none.
    """

    model_config = ConfigDict(extra="forbid")
    signs: list[str]
    centre: list[float]
    scale: list[float]
    slopes: list[float]
    intercept: float
    errors: list[float]
    shares: list[float]
    cut: float | None
    accepted: float
    worse: float | None
    correlation: float | None
    mean_error: float
    images: int
    units: int

    def predicted(self, signs: Array) -> float:
        """The Dice to expect, 0..1."""
        brought = (signs - np.array(self.centre)) / np.array(self.scale)
        return float(np.clip(self.intercept + brought @ np.array(self.slopes), 0, 1))

    def bound(self, signs: Array, risk: float) -> float:
        """A Dice that about a share ``risk`` of all images stay below theirs, for units that are exchangeable.

        The prediction plus the error of that rank among the errors on held-out images (Papadopoulos et al., ECML 2002,
        with errors of cross-validation as in Vovk, 2015, for which it holds about, not surely); 0 where there are too
        few units for so small a risk. Images of one patient, alike as they are, count as one together (as in Dunn,
        Wasserman and Ramdas, JASA 2023).
        """
        allowed = np.flatnonzero(np.array(self.shares) <= risk + 1e-9)
        return 0.0 if not len(allowed) else float(np.clip(self.predicted(signs) + self.errors[allowed[-1]], 0, 1))


def fit_quality(
    names: Sequence[str], signs: Array, dice: Array, units: NDArray[np.int64], *, good: float, risk: float
) -> Quality:
    """Fit Dice on signs, judge the fit on images held out of it, and say from where on a prediction is accepted.

    The penalty is the one with the smallest leave-one-out error, in every fit anew. Errors, and the figures, are those
    of at most ten fits, each without a tenth of the units.

    Accepted are as many of the held-out images, those with the highest predicted Dice, as leave (worse + 1) /
    (accepted + 1) at ``risk`` or below, counted in units, of which each image is a part. The added one makes up for the
    cut being chosen on the same ones, as in knockoff+ (Barber and Candès, Annals of Statistics, 2015).

    Args:
        names: of the signs.
        signs: [N, S].
        dice: of each image, [N] in 0..1.
        units: which unit each image is of, [N], two or more; units, such as patients, stay together.
        good: the Dice from which on an image is as good as wanted.
        risk: share of those accepted that may be worse.
    """
    count = min(FOLDS, len(set(units.tolist())))
    order = np.random.default_rng(0).permutation(sorted(set(units.tolist())))
    held = np.full(len(dice), np.nan)
    for start in range(count):
        out = np.isin(units, order[start::count])
        centre, scale, slopes, intercept = _ridge(signs[~out], dice[~out])
        held[out] = np.clip(intercept + (signs[out] - centre) / scale @ slopes, 0, 1)
    _, own, sizes = np.unique(units, return_inverse=True, return_counts=True)
    parts = 1 / sizes[own]  # of its unit, each image
    rising = np.argsort(dice - held, kind="stable")
    errors, parts_below = (dice - held)[rising], parts[rising].cumsum() - parts[rising]
    shares = (1 + parts_below) / (len(sizes) + 1)
    varied = len(dice) > 1 and np.std(held) > 0 and np.std(dice) > 0
    centre, scale, slopes, intercept = _ridge(signs, dice)
    ranks = np.linspace(0, len(errors) - 1, min(len(errors), MOST_KEPT)).astype(int)
    return Quality(
        signs=list(names),
        centre=centre.tolist(),
        scale=scale.tolist(),
        slopes=slopes.tolist(),
        intercept=intercept,
        errors=errors[ranks].tolist(),
        shares=shares[ranks].tolist(),
        **_accepted(held, dice, parts, good, risk),
        correlation=float(np.corrcoef(held, dice)[0, 1]) if varied else None,
        mean_error=float(np.abs(errors).mean()),
        images=len(dice),
        units=len(sizes),
    )


def _accepted(held: Array, dice: Array, parts: Array, good: float, risk: float) -> dict[str, Any]:
    """``cut``, ``accepted`` and ``worse`` of held-out predictions."""
    order = np.argsort(-held, kind="stable")
    predicted, bad = held[order], dice[order] < good
    last = np.append(predicted[1:] < predicted[:-1], True)  # equal predictions are accepted together
    worse, taken = (parts[order] * bad).cumsum(), parts[order].cumsum()
    allowed = np.flatnonzero(last & ((worse + 1) / (taken + 1) <= risk + 1e-9))
    if not len(allowed):
        return {"cut": None, "accepted": 0.0, "worse": None}
    place = int(allowed[-1])
    return {
        "cut": float(predicted[place]),
        "accepted": float((place + 1) / len(order)),
        "worse": float(bad[: place + 1].mean()),
    }


def _ridge(signs: Array, dice: Array) -> tuple[Array, Array, Array, float]:
    """Centre, scale, slopes and intercept, with the penalty whose leave-one-out error is the smallest."""
    centre, scale = signs.mean(0), signs.std(0)
    scale = np.where(scale > 1e-9, scale, 1.0)
    x, y = (signs - centre) / scale, dice - dice.mean()
    best, found = np.inf, np.zeros(x.shape[1])
    for penalty in PENALTIES:
        inverse = np.linalg.inv(x.T @ x + penalty * np.eye(x.shape[1]))
        slopes = inverse @ x.T @ y
        leverage = np.einsum("ij,jk,ik->i", x, inverse, x) + 1 / len(y)  # the last term is the intercept's
        error = float(np.mean(((y - x @ slopes) / np.maximum(1 - leverage, 1e-6)) ** 2))
        if error < best:
            best, found = error, slopes
    return centre, scale, found, float(dice.mean())
