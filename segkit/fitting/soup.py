"""A greedy soup: weights of several trainings from one beginning, averaged into one model."""

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from segkit.allocator import reused_memory
from segkit.data.dataset import SegmentationDataset
from segkit.data.folder import DatasetFolder, open_dataset
from segkit.errors import ModelError, UsageError
from segkit.evaluation.metrics import headline
from segkit.evaluation.report import evaluate
from segkit.evaluation.seen import check_unseen_pictures
from segkit.fitting.assemble import common_about
from segkit.model import Segmenter
from segkit.prediction.of_sample import check_fit
from segkit.prediction.settings import settings_for
from segkit.progress import Progress
from segkit.training.population import learning_norms, measure_norms, plain_batches
from segkit.training.rounding import is_rounded, round_weights
from segkit.trusting.verdict import without_judge

BATCH, EPOCHS, CROP = 8, 100, 256  # of the crops that statistics are measured on


@dataclass(frozen=True)
class Soup:
    """A model averaged from several, and how it came about.

    Attributes:
        model: the soup.
        kept: names of the models that are in it, in the order in which they were added.
        scores: of each model by itself, by name.
        score: what the scores are, in words.
        whole: the soup's.
    """

    model: Segmenter
    kept: tuple[str, ...]
    scores: dict[str, float]
    score: str
    whole: float


@reused_memory()
def soup(
    models: Mapping[str, Segmenter],
    data: str | Path,
    split: str = "val",
    *,
    progress: Progress | None = None,
    **how: Any,
) -> Soup:
    """Average weights greedily (Wortsman et al., ICML 2022, recipe 1).

    From the model with the best score on, each next one is taken into the average if the average doesn't get worse by
    it. So the soup is never worse on the split than the best of the models. BatchNorm's statistics are measured anew on
    training pictures for each average.

    Args:
        models: by name, of one architecture, trained from the same first weights.
        data: the dataset's folder.
        split: its pictures are not among those that the models were trained on.
        progress: called after each model or average that is scored, with the number done, the number of all, its name.
        **how: settings of the predictor: tile, overlap, tta, precision.

    Raises:
        UsageError: fewer than two models; of several architectures or ancestors; a split that one was trained on,
            or where a model's score is undefined.
        ModelError: models of other classes than the dataset, or trained on another one, although they have BatchNorm.
    """
    folder = open_dataset(data)
    _check_related(models, folder.name)
    for model in models.values():
        check_fit(model, folder)
    check_unseen_pictures({name: model.about for name, model in models.items()}, folder, split)
    steps = count(1)

    def score_of(model: Segmenter, name: str) -> tuple[str, float]:
        what, value = headline(evaluate(model, data, split, **how).metrics)
        if progress is not None:
            progress(next(steps), 2 * len(models) - 1, name)
        return what, value

    found = {name: score_of(model, name) for name, model in models.items()}
    scores, what = {name: value for name, (_, value) in found.items()}, next(iter(found.values()))[0]
    for name, value in scores.items():
        if math.isnan(value):
            raise UsageError(f"{name}: {what} is undefined on split {split!r}, which has nothing to find; name another")
    order = sorted(models, key=lambda name: -scores[name])
    kept, whole = [order[0]], scores[order[0]]
    best = copy.deepcopy(models[order[0]])
    for name in order[1:]:
        mixed = _average([models[each] for each in (*kept, name)], folder)
        value = score_of(mixed, f"with {name}")[1]
        if value >= whole:
            kept, whole, best = [*kept, name], value, mixed
    on = {"dataset": folder.name, "split": split, "soup_of": kept}
    trained = common_about([models[name].about for name in kept]).get("trained_on", {})
    about = without_judge(models[order[0]].about)
    about |= {"trained_on": {**about.get("trained_on", {}), **trained}, "metrics": {}, "fitted_on": on}
    best.about = about
    return Soup(best.eval(), tuple(kept), scores, what, whole)


def _check_related(models: Mapping[str, Segmenter], dataset: str) -> None:
    """Raise UsageError unless these are two models or more that an average of weights can mean something of."""
    if len(models) < 2:
        raise UsageError("a soup needs at least two models; name more")
    first, *others = models
    for name in (first, *others):
        if not isinstance(models[name], Segmenter):
            raise UsageError(f"{name}: a soup is made of single models")
        if "ancestor" not in models[name].about:
            raise UsageError(f"{name}: it isn't recorded what weights it began with, so it can't go into a soup")
        if learning_norms(models[name]) and models[name].about.get("trained_on", {}).get("dataset") != dataset:
            raise ModelError(
                f"{name}: trained on {models[name].about.get('trained_on', {}).get('dataset')!r}, whose pictures "
                f"BatchNorm's statistics are measured on; {dataset} is another dataset"
            )
    for name in others:
        if models[name].architecture != models[first].architecture:
            raise UsageError(f"{name} and {first} are of different architectures; a soup averages equal ones")
        if models[name].about["ancestor"] != models[first].about["ancestor"]:
            raise UsageError(
                f"{name} and {first} share no ancestor: they began with different weights, between which an average "
                "means nothing. Train them from one saved model (model.start), or make an ensemble of them"
            )


def _average(models: Sequence[Segmenter], folder: DatasetFolder) -> Segmenter:
    """The mean of the weights, with BatchNorm's statistics of training pictures."""
    states = [model.state_dict() for model in models]
    mixed = copy.deepcopy(models[0])
    mixed.load_state_dict({name: _mean([state[name] for state in states]) for name in states[0]})
    fixed = _equal_norms(models)
    if len(learning_norms(mixed)) > len(fixed):
        trained = mixed.about["trained_on"]
        samples = folder.samples(*str(trained["splits"]).split(", "))
        tile = settings_for(mixed).tile
        dataset = SegmentationDataset(
            folder,
            samples,
            mixed.reader,
            crop=None if mixed.input_size else min(tile or CROP, CROP),
            size=mixed.input_size,
            depth=mixed.encoding is not None,
        )
        for name, norm in mixed.named_modules():
            if name in fixed:
                norm.requires_grad_(False)  # which keeps its statistics
        measure_norms(mixed, plain_batches(dataset, BATCH, EPOCHS))
        mixed.requires_grad_(True)
    mixed.eval()
    if all(map(is_rounded, models)):
        round_weights(mixed)
    return mixed


def _equal_norms(models: Sequence[Segmenter]) -> set[str]:
    """Names of the norms whose statistics are the same in all models: those that were frozen in training."""
    first, *others = [dict(model.named_buffers()) for model in models]
    means = [name for name in first if name.endswith(".running_mean")]
    equal = [name for name in means if all(torch.equal(first[name], each[name]) for each in others)]
    return {name.removesuffix(".running_mean") for name in equal}


def _mean(tensors: Sequence[Tensor]) -> Tensor:
    if not tensors[0].is_floating_point():
        return tensors[0]
    return torch.stack(list(tensors)).mean(0)
