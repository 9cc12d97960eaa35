"""The fast gradient sign method: the small change of a picture that a model's loss grows fastest by."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from segkit.errors import UsageError
from segkit.statistics import logits_of
from segkit.task import Task

STRENGTHS = (0.5 / 255, 1 / 255, 2 / 255, 4 / 255, 8 / 255)
"""Largest change of a value in 0..1."""


def gradient_sign(
    probabilities: Callable[[Tensor], Tensor], image: Tensor, target: Tensor, loss: nn.Module, task: Task
) -> Tensor:
    """Sign of the loss's gradient by the image (Goodfellow et al., ICLR 2015, section 4), [B, C, H, W] of -1, 0 and 1.

    An attacked picture is ``(image + strength * sign)``, kept in 0..1.

    Args:
        probabilities: images [B, C, H, W] in 0..1 → probabilities [B, maps, H, W].
        image: float32 in 0..1.
        target: ids int64 [B, H, W], or 0/1 maps float32 [B, K, H, W] for multilabel; 255 is ignored.
        loss: called with logits and target.
        task: what the maps are.

    Raises:
        UsageError: the probabilities don't depend on the image by anything that has a gradient.
    """
    with torch.enable_grad():
        attacked = image.detach().clone().requires_grad_()
        try:
            found = loss(logits_of(probabilities(attacked), task), target)
        except RuntimeError as error:
            if "requires grad" not in str(error):
                raise
            raise UsageError("fgsm: a function here can't be differentiated; leave fgsm out") from error
        if not found.requires_grad:
            raise UsageError("fgsm: a model here has no gradient (an exported file, or a function); leave fgsm out")
        (gradient,) = torch.autograd.grad(found, attacked)
    return gradient.sign()
