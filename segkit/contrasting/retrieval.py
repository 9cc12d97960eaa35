"""How often a half of a pair finds its other half among all: recall at 1, at 5, …, in both directions."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

TIED = 1e-9  # what rounding makes of equal cosines


def ranks(queries: Tensor, gallery: Tensor) -> Tensor:
    """Return int64 [N], how many rows of the gallery are at least as similar to query i as its own row i: 0 is best.

    Similarity is the cosine. Others that are just as similar count as before it, so that a space in which everything is
    the same place finds nothing.

    Args:
        queries, gallery: [N, D]; row i of both is a pair.
    """
    similar = _cosines(queries, gallery)
    own = similar.diagonal()[:, None]
    before = similar >= own - TIED
    return before.sum(1) - 1


def nearest_of(queries: Tensor, gallery: Tensor) -> Tensor:
    """Return int64 [N], which row of the gallery is the most similar one to each query."""
    return _cosines(queries, gallery).argmax(1)


def recall(first: Tensor, second: Tensor, at: Sequence[int] = (1, 5)) -> dict[str, tuple[float, float]]:
    """Return ``r1``, ``r5``, …: shares 0..1 of the N pairs found among the first k, from first to second and back.

    By chance r1 is 1 / N, r5 is 5 / N.

    >>> recall(torch.eye(4), torch.eye(4)[[0, 1, 3, 2]], at=(1,))
    {'r1': (0.5, 0.5)}
    """
    there, back = ranks(first, second), ranks(second, first)
    return {f"r{k}": (float((there < k).double().mean()), float((back < k).double().mean())) for k in at}


def _cosines(queries: Tensor, gallery: Tensor) -> Tensor:
    if queries.ndim != 2 or queries.shape != gallery.shape:
        raise ValueError(f"got {list(queries.shape)} and {list(gallery.shape)}; expected two of the same [N, D]")
    return F.normalize(queries.double(), dim=1) @ F.normalize(gallery.double(), dim=1).T
