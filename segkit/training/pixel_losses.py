"""Losses that are means over pixels: cross-entropy, binary cross-entropy and focal."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from segkit.data.masks import IGNORE
from segkit.task import Task
from segkit.training.loss import Loss, check_shapes, in_full_precision, ratio


class CrossEntropy(Loss):
    """Softmax cross-entropy for multiclass; for binary and multilabel the same as ``BinaryCrossEntropy``."""

    def forward(self, logits: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """Scalar; shapes as in ``loss``."""
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


class BinaryCrossEntropy(Loss):
    """Sigmoid cross-entropy of every map on its own; in multiclass each class against the rest."""

    def forward(self, logits: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """Scalar; shapes as in ``loss``."""
        return one_against_rest(*self.read(logits, target, weight), self.class_weights)


class Focal(Loss):
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
        """Scalar; shapes as in ``loss``."""
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
        of_both = logits.shape[1] == 1 and len(weights) == 2
        no_weights, yes_weights = (weights[:1], weights[1:]) if of_both else (weights, weights)
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
