"""Targets for models that learn a coarse map: the share of each class in a cell."""

import torch.nn.functional as F
from torch import Tensor

from segkit.data.masks import IGNORE
from segkit.task import Task


def coarse_target(target: Tensor, size: tuple[int, int], task: Task, classes: int) -> tuple[Tensor, Tensor]:
    """What part of each cell's counted area a class takes, and what part of the cell is counted.

    Args:
        target: int64 [B, H, W] of class ids, or float [B, K, H, W] of 0 and 1 for multilabel; 255 is not counted.
        size: (height, width) of the coarse map, cells that overlap by a pixel where it doesn't divide (H, W).
        task: ``binary`` has one map, of class 1.
        classes: how many the task has.

    Returns:
        Float32 [B, K, *size] in 0..1, 0 where nothing is counted, and weights [B, *size] in 0..1. A pixel of a
        multilabel target counts where all classes are known.
    """
    if task == "multilabel":
        known = (target != IGNORE).all(1)
        layers = (target == 1).float()
    else:
        known = target != IGNORE
        ids = target.where(known, 0)
        layers = ids[:, None].float() if task == "binary" else F.one_hot(ids, classes).movedim(-1, 1).float()
    weight = F.adaptive_avg_pool2d(known[:, None].float(), size)
    shares = F.adaptive_avg_pool2d(layers * known[:, None], size) / weight.clamp(min=1e-6)
    return shares.clamp(max=1), weight[:, 0]
