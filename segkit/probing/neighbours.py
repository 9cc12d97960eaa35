"""The label of each picture by its nearest neighbours among labelled ones, weighted by how near they are."""

import torch
import torch.nn.functional as F
from torch import Tensor

from segkit.errors import UsageError

CHUNK = 1 << 24  # similarities held at a time


def neighbour_votes(
    bank: Tensor, labels: Tensor, queries: Tensor, *, classes: int, k: int = 20, temperature: float = 0.07
) -> Tensor:
    """Each class's share of the votes, float32 [Q, classes], that the ``k`` nearest of the bank cast for a query.

    A neighbour at the cosine c votes for its own class with the weight exp(c / temperature) (Wu et al., CVPR 2018,
    with the k = 20 of Caron et al., ICCV 2021). Of a bank of fewer than ``k`` all vote.

    Args:
        bank: features of the labelled pictures, [N, D].
        labels: int64 [N], ids of classes.
        queries: features of the others, [Q, D].
        classes: their number.
        k: how many neighbours vote, 1 or more.
        temperature: above 0; the smaller, the more the nearest decide.

    Raises:
        UsageError: ``k`` or ``temperature`` out of range.
    """
    if k < 1:
        raise UsageError(f"k is {k}; expected 1 or more neighbours")
    if not temperature > 0:
        raise UsageError(f"temperature is {temperature}; expected more than 0")
    bank, queries = F.normalize(bank.float(), dim=1), F.normalize(queries.float(), dim=1)
    step, votes = max(1, CHUNK // len(bank)), []
    for start in range(0, len(queries), step):
        some = queries[start : start + step]
        cosines, nearest = (some @ bank.T).topk(min(k, len(bank)), dim=1)  # each [q, k]
        weights = ((cosines - cosines[:, :1]) / temperature).exp()  # as shares the same, and never too large
        votes.append(weights.new_zeros(len(some), classes).scatter_add_(1, labels[nearest], weights))
    cast = torch.cat(votes) if votes else bank.new_zeros(0, classes)
    return cast / cast.sum(1, keepdim=True)
