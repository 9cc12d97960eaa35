"""What every loss is: how it is called, and what is ignored, weighted and averaged.

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

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import get_args

import torch
from torch import Tensor, nn

from segkit.data.masks import IGNORE
from segkit.task import Task

TASKS = get_args(Task)


class Loss(nn.Module, ABC):
    """What the losses share: the task, the class weights, and one dense form for every kind of target."""

    class_weights: Tensor | None

    def __init__(self, task: Task, *, class_weights: Sequence[float] | None = None) -> None:
        super().__init__()
        if task not in TASKS:
            raise ValueError(f"task is {task!r}; expected one of {', '.join(TASKS)}")
        self.task = task
        weights = None if class_weights is None else torch.tensor(class_weights, dtype=torch.float32)
        self.register_buffer("class_weights", weights, persistent=False)

    @property
    def heeds_class_weights(self) -> bool:
        """Whether they change anything: of several maps they do."""
        return True

    @abstractmethod
    def forward(self, logits: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """Scalar; shapes as the module says."""

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
