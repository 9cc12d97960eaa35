"""Losses that compare whole regions: Tversky, Dice and Lovász. They are called as ``loss.py`` says."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from segkit.task import Task
from segkit.training.loss import Loss, ratio


class Tversky(Loss):
    """1 − TP / (TP + alpha·FP + beta·FN), soft, the mean over the classes (Salehi et al., MLMI 2017).

    The overlap is Σ min(p, t): Σ p·t where t is 0 or 1, and least at p = t where t is soft, which Σ p·t is not (Wang
    et al., MICCAI 2023). Every class is scored, also one that isn't there: then the loss is FP / (FP + smooth / alpha),
    0 only where nothing is predicted.

    Args:
        alpha: at least 0, the cost of a false positive.
        beta: at least 0, the cost of a false negative.
        smooth: above 0, in pixels, added to both sides of the fraction. One pixel, because a much smaller one leaves
            an absent class with false positives at a loss of 1 and no gradient.
        include_background: whether the background is one of the classes; None means yes in multiclass, no in binary.
        per_image: score each image and take the mean, instead of the whole batch as one image.
        background: id of the background in multiclass, where it is to be left out.
    """

    def __init__(
        self,
        task: Task,
        *,
        class_weights: Sequence[float] | None = None,
        background: int | None = None,
        alpha: float = 0.3,
        beta: float = 0.7,
        smooth: float = 1.0,
        include_background: bool | None = None,
        per_image: bool = False,
    ) -> None:
        super().__init__(task, class_weights=class_weights)
        if alpha < 0 or beta < 0:
            raise ValueError(f"alpha and beta are {alpha} and {beta}; expected 0 or more")
        if smooth <= 0:
            raise ValueError("smooth: expected more than 0")
        if task == "multilabel" and include_background is not None:
            raise ValueError("include_background: a multilabel task has no background map")
        if task == "multiclass" and include_background is False and background is None:
            raise ValueError("include_background is false, but no class is named as background; name it in the dataset")
        self.alpha, self.beta, self.smooth, self.per_image = alpha, beta, smooth, per_image
        self.left_out = background if task == "multiclass" and include_background is False else None
        self.both_sides = task == "binary" and include_background is True

    @property
    def heeds_class_weights(self) -> bool:
        """Of a single map's mean there is nothing to weigh."""
        return self.task != "binary" or self.both_sides

    def forward(self, logits: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """Scalar; shapes as in ``loss``."""
        logits, truth, counted = self.read(logits, target, weight)
        guess = logits.softmax(dim=1) if self.task == "multiclass" else logits.sigmoid()
        if self.both_sides:
            guess, truth = torch.cat([1 - guess, guess], dim=1), torch.cat([1 - truth, truth], dim=1)

        region = (2, 3) if self.per_image else (0, 2, 3)
        guessed, true = (counted * guess).sum(region), (counted * truth).sum(region)  # [K] or [B, K]
        hit = (counted * torch.minimum(guess, truth)).sum(region)
        score = (hit + self.smooth) / (hit + self.alpha * (guessed - hit) + self.beta * (true - hit) + self.smooth)
        share = self._class_share(guess) * (counted.sum(region) > 0)
        return ratio((1 - score) * share, share)

    def _class_share(self, guess: Tensor) -> Tensor:
        """How much each of the scored classes counts, [K]."""
        maps = guess.shape[1]
        share = guess.new_ones(maps) if self.class_weights is None else self.class_weights.to(guess)[-maps:]
        if self.left_out is None:
            return share
        return share * (torch.arange(maps, device=share.device) != self.left_out)


class Dice(Tversky):
    """1 − (2·Σ min(p, t) + smooth) / (Σ p + Σ t + smooth), the mean over the classes (Milletari et al., 3DV 2016).

    Tversky with alpha = beta = 1/2; options and their reasons are explained there.
    """

    def __init__(
        self,
        task: Task,
        *,
        class_weights: Sequence[float] | None = None,
        background: int | None = None,
        smooth: float = 1.0,
        include_background: bool | None = None,
        per_image: bool = False,
    ) -> None:
        super().__init__(
            task,
            class_weights=class_weights,
            background=background,
            alpha=0.5,
            beta=0.5,
            smooth=smooth / 2,  # Tversky's fraction is half of Dice's on both sides
            include_background=include_background,
            per_image=per_image,
        )


class Lovasz(Loss):
    """Lovász extension of the Jaccard loss, the mean over the classes (Berman et al., CVPR 2018).

    Softmax errors |t − p| for multiclass, over the classes that occur in the truth as in the paper (false positives of
    another class are errors of one that occurs); hinge errors for binary and multilabel, every map. A pixel's weight
    is its size in the sets that Jaccard's index compares. A soft target is first decided: the largest share, or 0.5.

    Args:
        per_image: score each image and take the mean, instead of the whole batch as one image.
    """

    def __init__(self, task: Task, *, class_weights: Sequence[float] | None = None, per_image: bool = False) -> None:
        super().__init__(task, class_weights=class_weights)
        self.per_image = per_image

    @property
    def heeds_class_weights(self) -> bool:
        """Of a single map's mean there is nothing to weigh."""
        return self.task != "binary"

    def forward(self, logits: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """Scalar; shapes as in ``loss``."""
        logits, truth, counted = self.read(logits, target, weight)
        if self.task == "multiclass":
            if target.ndim == 4:
                truth = torch.zeros_like(truth).scatter_(1, truth.argmax(dim=1, keepdim=True), 1.0)
            errors = (truth - logits.softmax(dim=1)).abs()
        else:
            truth = (truth >= 0.5).to(logits)
            errors = F.relu(1 - logits * (2 * truth - 1))

        errors, truth, size = (self._rows(entries) for entries in (errors, truth, counted.expand_as(errors)))
        errors, order = errors.sort(dim=-1, descending=True)
        truth, size = truth.gather(-1, order), size.gather(-1, order)
        true = (size * truth).sum(dim=-1, keepdim=True)
        overlap = true - (size * truth).cumsum(dim=-1)
        union = true + (size * (1 - truth)).cumsum(dim=-1)
        jaccard_loss = torch.where(union > 0, 1 - overlap / torch.where(union > 0, union, 1.0), 0.0)
        extension = (errors * jaccard_loss.diff(dim=-1, prepend=torch.zeros_like(true))).sum(dim=-1)  # [1 or B, K]

        occurs = true if self.task == "multiclass" else size.sum(dim=-1, keepdim=True)
        share = (occurs.squeeze(-1) > 0).to(logits)
        if self.class_weights is not None:
            share = share * self.class_weights.to(logits)[-share.shape[-1] :]
        return ratio(extension * share, share)

    def _rows(self, entries: Tensor) -> Tensor:
        """One row per scored region: [B, K, H, W] → [B, K, H·W] or, for the whole batch, [1, K, B·H·W]."""
        return entries.flatten(2) if self.per_image else entries.transpose(0, 1).flatten(1).unsqueeze(0)
