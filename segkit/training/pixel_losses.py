"""Losses that are means over pixels: cross-entropy, binary cross-entropy and focal; and what every loss here shares.

Every loss is called ``loss(logits, target, weight=None)`` and returns a scalar in float32 (float64 for float64 logits),
under autocast too:

- ``logits`` [B, K, H, W]; K = 1 for the binary task.
- ``target`` class ids [B, H, W] (binary: 0 or 1), or shares in 0..1 [B, K, H, W] for multilabel and soft targets.
  Where it is 255 it is ignored: that pixel, or in multilabel that pixel of that map.
- ``weight`` [B, H, W], at least 0: how often a pixel counts; 0 leaves it out.

Means run over what is counted. Where nothing is counted, the loss is 0 and so is every gradient. Class weights are K
numbers, or for binary two (background, foreground); they enter the denominators too, so that scaling all of them
changes nothing. Class ids are not checked here, since that would wait for the GPU: the dataset checks them on reading.
"""

from collections.abc import Sequence
from typing import get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segkit.data.masks import IGNORE
from segkit.task import Task

TASKS = get_args(Task)


class SegmentationLoss(nn.Module):
    """What the losses share: the task, the class weights, and one dense form for every kind of target."""

    class_weights: Tensor | None

    def __init__(self, task: Task, *, class_weights: Sequence[float] | None = None) -> None:
        super().__init__()
        if task not in TASKS:
            raise ValueError(f"task is {task!r}; expected one of {', '.join(TASKS)}")
        self.task = task
        weights = None if class_weights is None else torch.tensor(class_weights, dtype=torch.float32)
        self.register_buffer("class_weights", weights, persistent=False)

    def read(self, logits: Tensor, target: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Logits in full precision, truth in 0..1 (any number where ignored), and how often each entry counts.

        Shapes [B, K, H, W], the last one [B, 1, H, W] where all maps of a pixel count alike.
        """
        check_shapes(logits, target, weight, self.task)
        logits = in_full_precision(logits)
        ignored = target == IGNORE
        if target.ndim == 3:
            ignored = ignored.unsqueeze(1)
            truth = target.unsqueeze(1).masked_fill(ignored, 0)
            if self.task == "multiclass":
                truth = torch.zeros_like(logits).scatter_(1, truth.long(), 1.0)
        else:
            if self.task == "multiclass":
                ignored = ignored.any(dim=1, keepdim=True)
            truth = target.masked_fill(ignored, 0)
        counted = (~ignored).to(logits)
        return logits, truth.to(logits), counted if weight is None else counted * weight.unsqueeze(1).to(logits)


class CrossEntropy(SegmentationLoss):
    """Softmax cross-entropy for multiclass; for binary and multilabel the same as ``BinaryCrossEntropy``."""

    def forward(self, logits: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """Scalar; shapes as the module says."""
        if self.task == "multiclass" and target.ndim == 3:
            return self._of_ids(logits, target, weight)
        logits, truth, counted = self.read(logits, target, weight)
        if self.task != "multiclass":
            return one_against_rest(logits, truth, counted, self.class_weights)
        return softmax_focal(logits, truth, counted, self.class_weights, gamma=0.0)

    def _of_ids(self, logits: Tensor, target: Tensor, weight: Tensor | None) -> Tensor:
        # Ids need no dense [B, K, H, W] truth: with 150 classes it would be as large as the logits.
        check_shapes(logits, target, weight, self.task)
        logits, target = in_full_precision(logits), target.long()
        per_class = logits.new_ones(logits.shape[1]) if self.class_weights is None else self.class_weights.to(logits)
        surprise = F.cross_entropy(logits, target, weight=per_class, ignore_index=IGNORE, reduction="none")
        ignored = target == IGNORE
        share = per_class[target.masked_fill(ignored, 0)].masked_fill(ignored, 0)
        if weight is not None:
            surprise, share = surprise * weight, share * weight
        return ratio(surprise, share)


class BinaryCrossEntropy(SegmentationLoss):
    """Sigmoid cross-entropy of every map on its own; in multiclass each class against the rest."""

    def forward(self, logits: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """Scalar; shapes as the module says."""
        return one_against_rest(*self.read(logits, target, weight), self.class_weights)


class Focal(SegmentationLoss):
    """Cross-entropy in which a pixel counts (1 − p)^gamma, p being what its own class got (Lin et al., ICCV 2017).

    Sigmoid for binary and multilabel, softmax for multiclass. A soft target gives the mean over the classes it names.

    Args:
        gamma: at least 0; 0 gives cross-entropy.
        alpha: 0..1, scales the foreground by alpha and the background by 1 − alpha (the paper's is 0.25); None scales
            neither. In multiclass the class weights do this.
    """

    def __init__(
        self,
        task: Task,
        *,
        class_weights: Sequence[float] | None = None,
        gamma: float = 2.0,
        alpha: float | None = None,
    ) -> None:
        super().__init__(task, class_weights=class_weights)
        if gamma < 0:
            raise ValueError(f"gamma is {gamma}; expected 0 or more")
        if alpha is not None and task == "multiclass":
            raise ValueError("alpha weighs foreground against background; a multiclass task takes class weights")
        if alpha is not None and not 0 <= alpha <= 1:
            raise ValueError(f"alpha is {alpha}; expected 0..1")
        self.gamma, self.alpha = gamma, alpha

    def forward(self, logits: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """Scalar; shapes as the module says."""
        logits, truth, counted = self.read(logits, target, weight)
        if self.task == "multiclass":
            return softmax_focal(logits, truth, counted, self.class_weights, gamma=self.gamma)
        return one_against_rest(logits, truth, counted, self.class_weights, gamma=self.gamma, alpha=self.alpha)


def one_against_rest(
    logits: Tensor,
    truth: Tensor,
    counted: Tensor,
    class_weights: Tensor | None,
    *,
    gamma: float = 0.0,
    alpha: float | None = None,
) -> Tensor:
    """Mean sigmoid (focal) cross-entropy over all maps; two class weights for one map are (background, foreground)."""
    log_yes, log_no = F.logsigmoid(logits), F.logsigmoid(-logits)
    # The modulation (1 − p)^gamma through its logarithm: a power's gradient is infinite at p = 1 where gamma < 1.
    yes = -log_yes if gamma == 0 else -log_yes * (gamma * log_no).exp()
    no = -log_no if gamma == 0 else -log_no * (gamma * log_yes).exp()
    if alpha is not None:
        yes, no = alpha * yes, (1 - alpha) * no

    share_yes, share_no = counted * truth, counted * (1 - truth)
    if class_weights is not None:
        weights = class_weights.to(logits)
        no_weights, yes_weights = (weights[:1], weights[1:]) if logits.shape[1] == 1 else (weights, weights)
        share_yes, share_no = share_yes * yes_weights.view(1, -1, 1, 1), share_no * no_weights.view(1, -1, 1, 1)
    return ratio(share_yes * yes + share_no * no, share_yes + share_no)


def softmax_focal(
    logits: Tensor, truth: Tensor, counted: Tensor, class_weights: Tensor | None, *, gamma: float
) -> Tensor:
    """Mean softmax (focal) cross-entropy over the pixels, each weighted by the class weights that its truth names."""
    log_p = logits.log_softmax(dim=1)
    surprise = -log_p
    if gamma > 0:
        # Clamped: a power's gradient is infinite at p = 1 where gamma < 1.
        surprise = surprise * (-log_p.expm1()).clamp_min(torch.finfo(log_p.dtype).eps) ** gamma
    share = counted * truth if class_weights is None else counted * truth * class_weights.to(logits).view(1, -1, 1, 1)
    return ratio(share * surprise, share)


def ratio(amounts: Tensor, shares: Tensor) -> Tensor:
    """Sum of ``amounts`` over sum of ``shares``; 0 with gradient 0 where both are all zero."""
    total = shares.sum()
    return amounts.sum() / torch.where(total > 0, total, 1.0)


def in_full_precision(logits: Tensor) -> Tensor:
    """Logits as float32, or as they are in float64."""
    return logits if logits.dtype == torch.float64 else logits.float()


def check_shapes(logits: Tensor, target: Tensor, weight: Tensor | None, task: Task) -> None:
    """Raise ValueError unless the three fit each other and the task."""
    batch, maps, height, width = logits.shape
    ids, dense = (batch, height, width), (batch, maps, height, width)
    if task == "binary" and maps != 1:
        raise ValueError(f"logits have {maps} maps; the binary task has 1")
    if target.ndim == 4 or task == "multilabel":
        if tuple(target.shape) != dense:
            raise ValueError(f"target is {tuple(target.shape)}; expected {dense}, one map for each of the logits'")
    elif tuple(target.shape) != ids:
        raise ValueError(f"target is {tuple(target.shape)}; expected {ids} for logits {dense}")
    elif target.is_floating_point():
        raise ValueError(f"target {ids} is {target.dtype}; class ids are integers, soft targets are {dense}")
    if weight is not None and tuple(weight.shape) != ids:
        raise ValueError(f"weight is {tuple(weight.shape)}; expected {ids}")
