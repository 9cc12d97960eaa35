"""Operations on a batch of which each image has its own: those of one operation are computed together."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Operation = Callable[[Tensor, Tensor], Tensor]
"""From images [n, C, h, w] and numbers of each, float32 [n, P], to images of the same shape."""


def in_groups(
    image: Tensor, chosen: NDArray[np.int64], numbers: NDArray[np.float64], operations: Sequence[Operation]
) -> Tensor:
    """Each image by its own operation: [B, C, h, w] → the same shape.

    The batch is sorted by operation, so that a processor that is slow to start a computation starts few of them.

    Args:
        image: the batch.
        chosen: of each image the place of its operation among ``operations``, [B].
        numbers: of each image, [B, P].
        operations: those to choose from.
    """
    order = np.argsort(chosen, kind="stable")
    bounds = np.searchsorted(chosen[order], np.arange(len(operations) + 1))
    there_and_back = torch.from_numpy(np.stack([order, np.argsort(order)])).to(image.device, non_blocking=True)
    given = torch.from_numpy(numbers[order].astype(np.float32)).to(image.device, non_blocking=True)
    ordered = image[there_and_back[0]]
    done = [
        operation(ordered[low:high], given[low:high])
        for operation, low, high in zip(operations, bounds[:-1], bounds[1:], strict=True)
        if low < high
    ]
    return torch.cat(done)[there_and_back[1]]
