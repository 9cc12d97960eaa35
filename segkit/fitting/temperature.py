"""The temperature at which probabilities are most likely right."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from segkit.combining import Combination
from segkit.combining.sums import combined
from segkit.fitting.heldout import HeldOut, points
from segkit.fitting.judge import Fit, folds_of
from segkit.statistics import logits_of
from segkit.task import Task

COLDEST, HOTTEST = 0.05, 20.0
NEARLY = 1.001
ROUNDS = 40  # of a search that leaves 62 % of the range each time
POINTS = 100_000  # pixels that it is fitted on


def kept_temperature(pictures: Sequence[HeldOut], units: Sequence[int], task: Task, log_loss: nn.Module) -> float:
    """The fitted temperature of the one member of these pictures, or 1.

    It is 1 where a temperature fitted on some units doesn't lower the log loss of the others, and of one unit alone.
    """
    before = after = 0.0
    for inside, outside in folds_of(pictures, units):
        temperature = fit_temperature(*_pixels(inside), task, log_loss)
        maps, target = _pixels(outside)
        before += _log_loss(maps, target, 1.0, task, log_loss)
        after += _log_loss(maps, target, temperature, task, log_loss)
    return fit_temperature(*_pixels(pictures), task, log_loss) if after < before else 1.0


def at_ends(members: Mapping[str, float], whole: float) -> Iterator[str]:
    """A note for each fitted temperature that ended where the search does: the best one is farther away.

    Args:
        members: their temperatures, by name.
        whole: the temperature of them together.
    """
    for name, found in (*members.items(), ("the whole", whole)):
        if found < COLDEST * NEARLY:
            yield (
                f"{name}: its temperature ended at {COLDEST:g}, the lowest that is tried: it is right nearly "
                "everywhere here, and nothing tells how sure it may be elsewhere; fit on pictures where it errs, too"
            )
        elif found > HOTTEST / NEARLY:
            yield (
                f"{name}: its temperature ended at {HOTTEST:g}, the highest that is tried: what it says here is hardly "
                "more than a guess"
            )


@torch.no_grad()
def together(combination: Combination, pictures: Sequence[HeldOut]) -> list[HeldOut]:
    """The pictures with what a combination says in the place of the members."""
    return [
        replace(picture, members=combined(combination, picture.members[:, None], picture.image[None]))
        for picture in pictures
    ]


def crossed(fit: Fit, pictures: Sequence[HeldOut], units: Sequence[int], *, seed: int = 0) -> list[HeldOut]:
    """The pictures with what a combination says that was fitted without them; of one unit alone, with them.

    What was fitted on a picture is surer of it than of others, so that a temperature would come out too low.
    """
    found = {
        each.name: each
        for inside, outside in folds_of(pictures, units, seed=seed)
        for each in together(fit(inside), outside)
    }
    return [found[each.name] for each in pictures] if found else together(fit(pictures), pictures)


def temperature_of(combination: Combination, pictures: Sequence[HeldOut], *, log_loss: nn.Module) -> float:
    """The fitted temperature of a combination."""
    return fit_temperature(*_pixels(together(combination, pictures)), combination.task, log_loss)


def fit_temperature(probabilities: Tensor, target: Tensor, task: Task, log_loss: nn.Module) -> float:
    """The temperature with the smallest log loss (Guo et al., ICML 2017), by golden-section search.

    The log loss is convex in 1/T, and so has one minimum over log T too.

    Args:
        probabilities: float32 [maps, N], at temperature 1.
        target: ids int64 [N], or 0/1 float32 [maps, N] for multilabel.
        task: what the maps are.
        log_loss: called with logits [1, maps, 1, N] and target.

    Returns:
        A number in 0.05..20.
    """

    def loss(log_temperature: float) -> float:
        return _log_loss(probabilities, target, math.exp(log_temperature), task, log_loss)

    ratio = (math.sqrt(5) - 1) / 2
    low, high = math.log(COLDEST), math.log(HOTTEST)
    colder, hotter = high - ratio * (high - low), low + ratio * (high - low)
    of_colder, of_hotter = loss(colder), loss(hotter)
    for _ in range(ROUNDS):
        if of_colder < of_hotter:
            high, hotter, of_hotter = hotter, colder, of_colder
            colder = high - ratio * (high - low)
            of_colder = loss(colder)
        else:
            low, colder, of_colder = colder, hotter, of_hotter
            hotter = low + ratio * (high - low)
            of_hotter = loss(hotter)
    return math.exp((low + high) / 2)


def _pixels(pictures: Sequence[HeldOut]) -> tuple[Tensor, Tensor]:
    members, target = points(pictures, POINTS)
    return members[0], target


def _log_loss(probabilities: Tensor, target: Tensor, temperature: float, task: Task, log_loss: nn.Module) -> float:
    logits = logits_of(probabilities[None, :, None], task).double() / temperature
    return float(log_loss(logits, target[None, ..., None, :]))
