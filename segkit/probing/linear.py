"""Logistic regression on fixed features: how much of the labels a plane between classes can read off them."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor

from segkit.errors import DataError, UsageError

STRENGTHS = tuple(10.0**power for power in range(1, -7, -1))  # of the regularisation, strongest first
HELD_OUT = 5  # a fifth of the training pictures chooses among them
STEPS, TOLERANCE = 1000, 1e-5  # the largest entry of the gradient that counts as none, of a mean loss


@dataclass(frozen=True)
class LinearProbe:
    """A linear classifier of features.

    Attributes:
        weight: float64 [K, D].
        bias: float64 [K].
        strength: λ of the λ/2·‖weight‖² that was added to the mean loss, on features of variance 1.
        converged: whether the optimiser came to the minimum.
    """

    weight: Tensor
    bias: Tensor
    strength: float
    converged: bool

    def logits(self, features: Tensor) -> Tensor:
        """Float64 [N, K] of features [N, D]."""
        return features.to(self.weight) @ self.weight.T + self.bias


def fit_linear(
    features: Tensor, labels: Tensor, *, classes: int, strength: float, start: LinearProbe | None = None
) -> LinearProbe:
    """The minimum of the mean cross-entropy plus strength/2·‖W‖², by L-BFGS (Liu & Nocedal 1989, SciPy's L-BFGS-B).

    W works on features of mean 0 and variance 1, so that ``strength`` means the same for every backbone; what comes out
    works on the features as they are. It is scikit-learn's ``LogisticRegression`` with C = 1 / (N·strength) on
    standardised features. Biases aren't regularised, and a feature that never changes is left out.

    Args:
        features: [N, D], finite.
        labels: int64 [N], ids in 0..classes - 1.
        classes: their number.
        strength: 0 or more.
        start: where to begin, which saves steps; the minimum is the same.

    Raises:
        UsageError: a strength below 0.
        DataError: features that aren't finite.
    """
    if not strength >= 0:
        raise UsageError(f"strength is {strength}; expected 0 or more")
    features = features.double()
    if not features.isfinite().all():
        raise DataError("some features are not finite; the backbone's weights are damaged, or its precision too low")
    mean, scale = features.mean(0), features.std(0, correction=0)
    scale = torch.where(scale > 1e-9 * (1 + mean.abs()), scale, torch.inf)  # a constant one becomes 0
    standard, width = (features - mean) / scale, features.shape[1]

    def loss(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        both = torch.from_numpy(flat).to(standard.device).view(classes, width + 1)
        weight, bias = both[:, :width], both[:, width]
        logits = standard @ weight.T + bias  # [N, K]
        value = F.cross_entropy(logits, labels) + strength / 2 * weight.square().sum()
        of_logits = logits.softmax(1)
        of_logits[torch.arange(len(labels), device=labels.device), labels] -= 1
        of_logits /= len(labels)
        gradient = torch.cat([of_logits.T @ standard + strength * weight, of_logits.sum(0)[:, None]], dim=1)
        return float(value), gradient.flatten().cpu().numpy()

    begin = np.zeros(classes * (width + 1))
    if start is not None:
        weight = torch.where(scale.isfinite(), start.weight * scale, 0)
        begin = torch.cat([weight, (start.bias + start.weight @ mean)[:, None]], dim=1).flatten().cpu().numpy()
    options = {"maxiter": STEPS, "maxfun": 2 * STEPS, "gtol": TOLERANCE, "ftol": 0.0, "maxcor": 20}
    found = minimize(loss, begin, jac=True, method="L-BFGS-B", options=options)
    both = torch.from_numpy(found.x).to(standard.device).view(classes, width + 1)
    weight = both[:, :width] / scale
    return LinearProbe(weight, both[:, width] - weight @ mean, strength, bool(found.success))


def choose_strength(features: Tensor, labels: Tensor, *, classes: int) -> tuple[float, dict[float, float]]:
    """The strength whose probe names most of a held-out fifth of the pictures rightly, and that share for each.

    The fifth is drawn from every class, always the same; where several of ``STRENGTHS`` are right as often, the
    strongest of them is taken. Every class stays among the pictures that are fitted.

    Args:
        features: [N, D] of training pictures; the test's have no say in it.
        labels: int64 [N].
        classes: their number.

    Raises:
        DataError: no class has pictures enough for a held-out one.
    """
    held_out = _held_out(labels, seed=0)
    if not held_out.any():
        raise DataError(f"{len(labels)} labelled pictures are too few to hold some out; two of some class are needed")
    right: dict[float, float] = {}
    probe = None
    for strength in STRENGTHS:
        probe = fit_linear(features[~held_out], labels[~held_out], classes=classes, strength=strength, start=probe)
        guesses = probe.logits(features[held_out]).argmax(1)
        right[strength] = float((guesses == labels[held_out]).double().mean())
    return max(right, key=lambda strength: (right[strength], strength)), right


def _held_out(labels: Tensor, seed: int) -> Tensor:
    """Bool [N]: about a fifth of each class, but never all of it."""
    chance = torch.rand(len(labels), generator=torch.Generator().manual_seed(seed)).to(labels.device)
    held_out = torch.zeros_like(labels, dtype=torch.bool)
    for label in sorted(set(labels.tolist())):
        members = (labels == label).nonzero()[:, 0]
        count = min(len(members) - 1, -(-len(members) // HELD_OUT))
        held_out[members[chance[members].argsort()[:count]]] = True
    return held_out
