"""Weights of members that explain held-out pixels best."""

import torch
from torch import Tensor, nn

from segkit.combining import Mean, Said
from segkit.statistics import logits_of

ROUNDS = 200
WIDEST = 3.0  # of the logarithm of a temperature that is found with the weights


def fit_weights(
    blank: Mean,
    members: Tensor,
    target: Tensor,
    loss: nn.Module,
    *,
    by_map: bool,
    shrinkage: float,
    tempered: bool = False,
) -> Tensor:
    """The weights with the smallest loss on given pixels, float32 [M, 1] or [M, maps].

    Minimised is loss(p) + shrinkage · M · Σ (w - 1/M)², the sum over the members and the mean over the maps, with w a
    softmax over the members, by L-BFGS from equal weights. For log loss of a mean of probabilities or of logits the
    problem is convex in w, so this is the best there is.

    Args:
        blank: a mean, of probabilities or of logits, of the same members.
        members: probabilities float32 [M, maps, N].
        target: ids int64 [N], or 0/1 float32 [maps, N] for multilabel.
        loss: called with logits [1, maps, 1, N] and target.
        by_map: one weight a member and map rather than one a member.
        shrinkage: 0 or more; how strongly the weights are drawn toward equal ones.
        tempered: let the whole have a temperature, which is found with the weights. Without one a mean of several is
            less sure than each of them, and the overlap in the loss prefers whoever is sure alone.
    """
    count, maps = members.shape[:2]
    scores = torch.zeros(count, maps if by_map else 1, requires_grad=True)
    steepness = torch.zeros((), requires_grad=tempered)
    free = [scores, steepness] if tempered else [scores]
    optimizer = torch.optim.LBFGS(free, max_iter=ROUNDS, line_search_fn="strong_wolfe", tolerance_change=1e-10)

    def objective() -> Tensor:
        optimizer.zero_grad()
        weights = scores.softmax(0)
        temperature = (WIDEST * (steepness / WIDEST).tanh()).exp()
        logits = logits_of(_said(blank, weights, members), blank.task) / temperature
        found: Tensor = loss(logits, target[None, ..., None, :])
        found = found + shrinkage * count * ((weights - 1 / count) ** 2).sum(0).mean()
        found.backward()  # type: ignore[no-untyped-call]  # torch has no hints there
        return found

    optimizer.step(objective)  # type: ignore[no-untyped-call]  # torch has no hints there
    return scores.detach().softmax(0)


def _said(blank: Mean, weights: Tensor, members: Tensor) -> Tensor:
    """Probabilities [1, maps, 1, N] of the mean with other weights."""
    total, sum_of_weights = torch.zeros(()), torch.zeros(())
    for index, probabilities in enumerate(members[:, None, :, None]):
        weight = weights[index].view(1, -1, 1, 1)
        total = total + blank.summand(Said(index, probabilities, probabilities), weight)
        sum_of_weights = sum_of_weights + weight
    return blank.combined(total, sum_of_weights)
