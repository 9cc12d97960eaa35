"""What a model says of each pixel: probabilities, their logits, and how unsure it is."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from segkit.task import Task

NEAREST = 2.0**-20  # a sigmoid counts as no nearer to 0 or 1 than this where its logit is asked for
SMALLEST = 2.0**-40  # and a softmax's class as no less likely than this


@dataclass(frozen=True)
class PixelStatistics:
    """Per-pixel maps of a batch of images, float32.

    Attributes:
        probabilities: [B, K, H, W] in 0..1; K = 1 for a binary task.
        entropy: [B, H, W] in nats, from 0 to :func:`maximum_entropy`; how unsure the prediction is in total.
        mutual_information: [B, H, W] in nats; how far the members disagree: the entropy of their mean less the mean of
            their entropies, before any temperature of the whole. None for a single model.
        std: [B, K, H, W]; standard deviation of the members' probabilities. None for a single model.
    """

    probabilities: Tensor
    entropy: Tensor
    mutual_information: Tensor | None = None
    std: Tensor | None = None


def probabilities_of(logits: Tensor, task: Task) -> Tensor:
    """Probabilities float32 [B, maps, …] in 0..1: sigmoid, or softmax over the maps for ``multiclass``."""
    logits = logits.float()
    return logits.softmax(1) if task == "multiclass" else logits.sigmoid()


def logits_of(probabilities: Tensor, task: Task) -> Tensor:
    """Logits float32 [B, maps, …] of which these are the probabilities; for ``multiclass`` their logarithms."""
    p = probabilities.float()
    if task == "multiclass":
        return p.clamp_min(SMALLEST).log()
    return torch.logit(p, eps=NEAREST)


def tempered(probabilities: Tensor, temperature: float, task: Task) -> Tensor:
    """Probabilities of the logits over a temperature: nearer to even above 1, further from it below (Guo et al., 2017).

    The most probable class stays the most probable, and what is above ½ stays above, up to rounding.
    """
    if temperature == 1:
        return probabilities
    return probabilities_of(logits_of(probabilities, task) / temperature, task)


def entropy(probabilities: Tensor, task: Task) -> Tensor:
    """Entropy in nats, float32 [B, H, W], of probabilities [B, K, H, W]; exactly 0 where every p is 0 or 1.

    ``multiclass``: of the categorical distribution over K. ``binary`` and ``multilabel``: of a Bernoulli variable
    per map, averaged over the K maps.
    """
    p = probabilities.float().clamp(0, 1)  # a softmax in float32 may exceed 1 by a rounding error
    nats: Tensor = torch.special.entr(p)  # -p ln p, and 0 at 0
    if task == "multiclass":
        return nats.sum(1)
    if task in ("binary", "multilabel"):
        nats = nats + torch.special.entr(1 - p)
        return nats.mean(1)
    raise ValueError(f"unknown task {task!r}; expected 'binary', 'multilabel' or 'multiclass'")


def maximum_entropy(task: Task, maps: int) -> float:
    """The largest value :func:`entropy` can take, in nats: ln K for ``multiclass``, otherwise ln 2."""
    return math.log(maps) if task == "multiclass" else math.log(2)
