"""Which way to combine is best on pictures that it wasn't fitted on."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from segkit.combining import Combination
from segkit.combining.sums import combined
from segkit.fitting.heldout import HeldOut
from segkit.statistics import logits_of

FOLDS = 5

Fit = Callable[[Sequence[HeldOut]], Combination]
"""A combination fitted on some pictures."""
Temper = Callable[[Combination, Sequence[HeldOut]], float]
"""The temperature of a combination that some pictures ask for."""


@dataclass(frozen=True)
class Verdict:
    """How ways to combine did on pictures they weren't fitted on.

    Attributes:
        losses: of each way and fold, by the way's name, the plain one under ``plain``.
        best: the name of the way that is to be kept.
        reason: why, in words.
    """

    losses: dict[str, list[float]]
    best: str
    reason: str


def judge(
    plain: Combination,
    ways: Mapping[str, Fit],
    pictures: Sequence[HeldOut],
    units: Sequence[int],
    loss: nn.Module,
    *,
    temper: Temper | None = None,
    seed: int = 0,
) -> Verdict:
    """Fit each way on four fifths of the units in turn and take its loss on the other fifth.

    The way with the smallest mean loss is kept, if choosing so does better than the plain one on average, and in more
    than half of the folds; else the plain one. Of each fold that choice is made by the others: the smallest of several
    losses would be smaller than what to expect.

    Args:
        plain: what needs no fitting.
        ways: fits, by name.
        pictures: what the members say, and the truth.
        units: of each picture; those of one unit, such as a patient, are never on both sides.
        loss: called with logits [1, maps, 1, N] and target.
        temper: brings what was fitted to a temperature, by the same pictures, before it is judged; the plain one too.
        seed: of the draw of the folds.
    """

    folds = list(folds_of(pictures, units, seed=seed))
    if not folds:
        return Verdict({}, "plain", "there is one picture, or one group, alone: nothing to judge a fit by")
    losses: dict[str, list[float]] = {"plain": [], **{name: [] for name in ways}}
    for inside, outside in folds:
        losses["plain"].append(_judged(plain, inside, outside, loss, temper))
        for name, fit in ways.items():
            losses[name].append(_judged(fit(inside), inside, outside, loss, temper))
    means = {name: sum(each) / len(each) for name, each in losses.items()}
    best = min(ways, key=lambda name: means[name])
    chosen = [losses[_best_without(fold, losses, ways)][fold] for fold in range(len(folds))]
    better = sum(fitted < other for fitted, other in zip(chosen, losses["plain"], strict=True))
    mean = sum(chosen) / len(folds)
    said = f"loss on pictures it wasn't fitted on {mean:.4f}, against {means['plain']:.4f} of equal weights"
    if mean < means["plain"] and 2 * better > len(folds):
        return Verdict(losses, best, f"{said}, better in {better} of {len(folds)} folds")
    return Verdict(losses, "plain", f"{said}, better in {better} of {len(folds)} folds: not kept")


def _best_without(fold: int, losses: Mapping[str, Sequence[float]], ways: Iterable[str]) -> str:
    """The way with the smallest loss on all folds but one."""
    return min(ways, key=lambda name: sum(losses[name]) - losses[name][fold])


def _judged(
    combination: Combination,
    inside: Sequence[HeldOut],
    outside: Sequence[HeldOut],
    loss: nn.Module,
    temper: Temper | None,
) -> float:
    return loss_of(combination, outside, loss, temper(combination, inside) if temper is not None else 1.0)


def folds_of(
    pictures: Sequence[HeldOut], units: Sequence[int], *, seed: int = 0
) -> Iterator[tuple[list[HeldOut], list[HeldOut]]]:
    """Pictures to fit on and pictures to judge by, at most five times; none where all are of one unit."""
    different = sorted(set(units))
    order = torch.randperm(len(different), generator=torch.Generator().manual_seed(seed)).tolist()
    count = min(FOLDS, len(different)) if len(different) > 1 else 0
    for start in range(count):
        held = {different[i] for i in order[start::count]}
        inside, outside = (
            [picture for picture, unit in zip(pictures, units, strict=True) if (unit in held) == out]
            for out in (False, True)
        )
        yield inside, outside


@torch.no_grad()
def loss_of(combination: Combination, pictures: Sequence[HeldOut], loss: nn.Module, temperature: float = 1.0) -> float:
    """The loss on all pixels of all pictures together, at a temperature of the whole."""
    found: list[Tensor] = []
    for picture in pictures:
        maps = combined(combination, picture.members[:, None], picture.image[None])
        found.append(maps[0].flatten(-2))
    probabilities = torch.cat(found, dim=-1)[None, :, None]
    target = torch.cat([picture.target.flatten(-2) for picture in pictures], dim=-1)[None, ..., None, :]
    return float(loss(logits_of(probabilities, combination.task) / temperature, target))
