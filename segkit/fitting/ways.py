"""The ways to fit how members are combined, each a function of the pictures to fit on."""

from collections.abc import Collection, Sequence
from functools import partial
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from segkit.combining import Combination, Gate, LogitMean, Mean, Stack
from segkit.fitting.heldout import HeldOut, points
from segkit.fitting.judge import Fit
from segkit.fitting.learned import fit_learned
from segkit.fitting.weights import fit_weights
from segkit.task import Task

Fittable = Literal["member", "class", "gate", "stack"]
Weights = Literal["uniform", "score", "member", "class", "gate", "stack"]
Of = Literal["probabilities", "logits"]

SHRINKAGES = (0.0, 0.01, 0.1, 1.0)
POINTS = 100_000  # pixels that weights are fitted on


class Shape(NamedTuple):
    """What a combination is of: how many members, how many maps, of what task, and of images of how many channels."""

    members: int
    maps: int
    task: Task
    channels: int

    def mean(self, *, of: Of, weights: Tensor | Sequence[float] | None = None) -> Mean:
        """The mean of probabilities or of logits; without weights, equal ones."""
        kind = LogitMean if of == "logits" else Mean
        return kind(self.members, self.maps, self.task, weights=weights)

    def network(self, kind: Literal["gate", "stack"]) -> Gate | Stack:
        """A gate or a stack, untrained."""
        if kind == "gate":
            return Gate(self.members, self.maps, self.task, channels=self.channels)
        return Stack(self.members, self.maps, self.task)


def ways_to_fit(
    weights: Fittable,
    shape: Shape,
    of: Of,
    loss: nn.Module,
    *,
    tempered: bool,
    without: Collection[int] = (),
    seed: int,
) -> dict[str, Fit]:
    """Fits by name: of a gate or stack one, of weights one for each strength of being drawn toward equal ones.

    ``tempered`` says that the whole will have a temperature. Members in ``without``, by their places, get no weight:
    what has nothing to do with the truth could take any, since the whole's temperature makes up for it.
    """
    if weights == "gate" or weights == "stack":
        return {weights: partial(_network, kind=weights, shape=shape, loss=loss, seed=seed)}
    knowing = [place for place in range(shape.members) if place not in without]
    weighted = partial(
        _weighted,
        knowing=knowing,
        by_map=weights == "class",
        shape=shape,
        of=of,
        loss=loss,
        tempered=tempered,
        seed=seed,
    )
    return {f"shrinkage {each:g}": partial(weighted, shrinkage=each) for each in SHRINKAGES}


def _network(
    pictures: Sequence[HeldOut], *, kind: Literal["gate", "stack"], shape: Shape, loss: nn.Module, seed: int
) -> Combination:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = shape.network(kind)
    fit_learned(network, pictures, loss, seed=seed)
    return network


def _weighted(
    pictures: Sequence[HeldOut],
    *,
    shrinkage: float,
    knowing: list[int],
    by_map: bool,
    shape: Shape,
    of: Of,
    loss: nn.Module,
    tempered: bool,
    seed: int,
) -> Combination:
    members, target = points(pictures, POINTS, seed=seed)
    found = fit_weights(
        shape.mean(of=of), members[knowing], target, loss, by_map=by_map, shrinkage=shrinkage, tempered=tempered
    )
    fitted = torch.zeros(shape.members, found.shape[1])
    fitted[knowing] = found
    return shape.mean(of=of, weights=fitted)
