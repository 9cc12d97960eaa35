"""How classifiers' probabilities are combined, fitted on images that none of them has seen (late fusion)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from segkit.classification.classifier import Classifier
from segkit.classification.ensemble import ClassifierEnsemble
from segkit.combining import Combination, Mean
from segkit.errors import UsageError
from segkit.fitting.heldout import HeldOut, with_members
from segkit.fitting.judge import FOLDS, Fit, Verdict, folds_of, judge
from segkit.fitting.temperature import crossed, fit_temperature, together
from segkit.fitting.ways import SHRINKAGES, Of, Shape
from segkit.fitting.weights import fit_weights
from segkit.statistics import logits_of, probabilities_of, tempered

Weights = Literal["uniform", "score", "member", "class"]
TASK: Literal["multiclass"] = "multiclass"
LOG_LOSS = nn.CrossEntropyLoss()

Block = HeldOut
"""Some of the images, side by side as the pixels of one picture: members [M, K, 1, n], target [1, n]."""


@dataclass(frozen=True)
class Fusion:
    """How members are combined, and what was found on the way.

    Attributes:
        combination: the mean that is kept.
        temperatures: of each member.
        temperature: of the whole.
        scores: top-1 of each member on the images it was fitted on.
        verdict: how the fit did against equal weights on images it wasn't fitted on; None where nothing was fitted.
    """

    combination: Combination
    temperatures: tuple[float, ...]
    temperature: float
    scores: tuple[float, ...]
    verdict: Verdict | None

    def ensemble(self, members: Sequence[Classifier], names: Sequence[str]) -> ClassifierEnsemble:
        """The members combined so."""
        return ClassifierEnsemble(
            members,
            names=names,
            combination=self.combination,
            temperatures=self.temperatures,
            temperature=self.temperature,
        )


def fit_fusion(
    logits: Tensor,
    target: Tensor,
    *,
    weights: Weights = "member",
    of: Of = "probabilities",
    temperature: bool = True,
    seed: int = 0,
) -> Fusion:
    """Fit how members are combined, as :func:`segkit.fit` does for masks, by the log loss.

    Members come first to temperatures of their own. How strongly fitted weights are drawn toward equal ones is chosen
    by cross-validation over the images, and so is whether they, or those by score, are kept at all. At last the whole
    comes to a temperature. A temperature is kept if it lowers the log loss of images it wasn't fitted on.

    Args:
        logits: what each member says of each image, float [M, N, K].
        target: ids int64 [N] of the true classes.
        weights: ``uniform``; ``score``, in proportion to each member's top-1; ``member``, one fitted weight a member,
            zero or more, that sum to 1; ``class``, one a member and class.
        of: what is averaged, probabilities or logits.
        temperature: fit temperatures too; without it they are 1.
        seed: of the draw of the folds.

    Raises:
        UsageError: a value that isn't one of these, or shapes or ids that don't fit.
    """
    _check(logits, target, weights, of)
    count, _, classes = logits.shape
    blocks = _blocks(probabilities_of(logits.movedim(2, 1), TASK), target, seed)  # of [M, K, N]
    places = list(range(len(blocks)))
    temperatures = [1.0] * count
    if temperature:
        for i in range(count):
            alone = [replace(block, members=block.members[i : i + 1]) for block in blocks]
            temperatures[i] = _kept_temperature(alone, places)
        blocks = [with_members(block, lambda i, said: tempered(said, temperatures[i], TASK)) for block in blocks]
    scores = (logits.argmax(2) == target).double().mean(1).tolist()  # [M]
    shape = Shape(count, classes, TASK, 0)
    combination: Combination = shape.mean(of=of)
    verdict: Verdict | None = None
    ways: dict[str, Fit] = {}
    if weights != "uniform":
        if weights == "score":
            ways |= {"score": partial(_by_score, shape=shape, of=of)}
        else:
            fitted = partial(_weighted, by_map=weights == "class", shape=shape, of=of, tempered=temperature)
            ways |= {f"shrinkage {each:g}": partial(fitted, shrinkage=each) for each in SHRINKAGES}
        temper = _temperature if temperature else None
        verdict = judge(combination, ways, blocks, places, LOG_LOSS, temper=temper, seed=seed)
        combination = combination if verdict.best == "plain" else ways[verdict.best](blocks)
    refit = ways[verdict.best] if verdict is not None and verdict.best != "plain" else lambda _: combination
    whole = _kept_temperature(crossed(refit, blocks, places, seed=seed), places) if temperature else 1.0
    return Fusion(combination, tuple(temperatures), whole, tuple(scores), verdict)


def _by_score(blocks: Sequence[Block], shape: Shape, of: Of) -> Combination:
    """The mean with weights in proportion to each member's top-1 on the blocks; equal ones where all are wrong."""
    members, target = _rows(blocks)
    scores = (members.argmax(1) == target).double().mean(1).tolist()
    return shape.mean(of=of, weights=scores if any(scores) else None)


def kept_temperature(logits: Tensor, target: Tensor, *, seed: int = 0) -> float:
    """The temperature of one model's logits [N, K], or 1 where one doesn't lower the log loss of images left out."""
    blocks = _blocks(probabilities_of(logits, TASK).T[None], target, seed)
    return _kept_temperature(blocks, range(len(blocks)))


def _check(logits: Tensor, target: Tensor, weights: Weights, of: Of) -> None:
    for name, value, choices in (("weights", weights, get_args(Weights)), ("of", of, get_args(Of))):
        if value not in choices:
            raise UsageError(f"{name}={value!r}: expected one of {', '.join(choices)}")
    if logits.ndim != 3 or target.shape != logits.shape[1:2] or not len(target):
        raise UsageError(
            f"logits {list(logits.shape)} and target {list(target.shape)}; expected [M, N, K] and [N], N of 1 or more"
        )
    if bool((target < 0).any()) or bool((target >= logits.shape[2]).any()):
        raise UsageError(
            f"targets from {int(target.min())} to {int(target.max())}; expected ids of {logits.shape[2]} classes"
        )
    if not bool(logits.isfinite().all()):
        raise UsageError("a member gives logits that are not finite; was its training finite?")


def _blocks(members: Tensor, target: Tensor, seed: int) -> list[Block]:
    """Members' probabilities [M, K, N] in as many blocks as there are folds, each with its share of every class."""
    generator = torch.Generator().manual_seed(seed)
    shuffled = torch.randperm(len(target), generator=generator)
    dealt = shuffled[target[shuffled].argsort(stable=True)]
    return [
        Block(str(i), members[:, :, None, dealt[i::FOLDS]], torch.empty(0, 1, 1), target[None, dealt[i::FOLDS]])
        for i in range(min(FOLDS, len(target)))
    ]


def _rows(blocks: Sequence[Block]) -> tuple[Tensor, Tensor]:
    """Members [M, K, N] and target [N] of all images of the blocks."""
    return torch.cat([block.members[:, :, 0] for block in blocks], 2), torch.cat([block.target[0] for block in blocks])


def _weighted(blocks: Sequence[Block], *, shrinkage: float, by_map: bool, shape: Shape, of: Of, tempered: bool) -> Mean:
    fitted = fit_weights(
        shape.mean(of=of), *_rows(blocks), LOG_LOSS, by_map=by_map, shrinkage=shrinkage, tempered=tempered
    )
    return shape.mean(of=of, weights=fitted)


def _temperature(combination: Combination, blocks: Sequence[Block]) -> float:
    """The fitted temperature of a combination."""
    return _fitted_temperature(together(combination, blocks))


def _kept_temperature(blocks: Sequence[Block], places: Sequence[int]) -> float:
    """The fitted temperature of the one member of these blocks, or 1 where it isn't better on blocks left out."""
    before = after = 0.0
    for inside, outside in folds_of(blocks, places):
        temperature = _fitted_temperature(inside)
        said, target = _rows(outside)
        logits = logits_of(said, TASK)  # [1, K, N]
        before += float(LOG_LOSS(logits, target[None]))
        after += float(LOG_LOSS(logits / temperature, target[None]))
    return _fitted_temperature(blocks) if after < before else 1.0


def _fitted_temperature(blocks: Sequence[Block]) -> float:
    said, target = _rows(blocks)
    return fit_temperature(said[0], target, TASK, LOG_LOSS)
