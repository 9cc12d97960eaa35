"""A model taught how good its predictions are, on pictures that it hasn't seen."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segkit.allocator import reused_memory
from segkit.artifact import AnyModel
from segkit.data.folder import DatasetFolder, Sample, open_dataset
from segkit.errors import DataError, UsageError
from segkit.evaluation.intervals import units_of
from segkit.evaluation.metrics import SegmentationMetrics
from segkit.evaluation.scores import mean_of_defined, overlap_scores
from segkit.evaluation.seen import check_unseen_pictures, kept_with, looked_at, trained_splits
from segkit.prediction.of_sample import check_fit, predict_sample, seen_of
from segkit.prediction.predictor import Predictor
from segkit.prediction.settings import unlike_kept
from segkit.progress import Progress
from segkit.recipe import PredictRecipe
from segkit.trusting.familiar import Range, properties_of, ranges_of
from segkit.trusting.quality import FEWEST, fit_quality
from segkit.trusting.signs import SIGNS
from segkit.trusting.verdict import KEY, Judge, settings_of, signs_in, without_judge

GOOD, RISK = 0.8, 0.1
FEWEST_UNITS = 5


@dataclass(frozen=True)
class Trusted:
    """A model that can judge its predictions.

    Attributes:
        model: the same model; what it judges by is in ``about``.
        judge: that.
        notes: what is to be said.
    """

    model: AnyModel
    judge: Judge
    notes: tuple[str, ...]


@reused_memory()
def trust(
    model: AnyModel,
    data: str | Path,
    split: str = "val",
    *,
    good: float = GOOD,
    risk: float = RISK,
    progress: Progress | None = None,
    **how: Any,
) -> Trusted:
    """Fit what tells good predictions of a model from bad ones, and keep it with the model.

    The Dice of each picture is regressed on signs in its own prediction, see :mod:`segkit.trusting.signs`; the figures
    are those of pictures held out of the fit. What pictures look like is taken from those that the model was trained
    on, where they are in the same dataset.

    Args:
        model: a single model or an ensemble; ``model.about`` is changed.
        data: the dataset's folder.
        split: its pictures are not among those that the model was trained on; several are joined by ``+``.
        good: the Dice from which on a prediction is as good as wanted.
        risk: share of accepted predictions that may be worse than that.
        progress: called after each picture with the number done, the number of all, and the picture's name.
        **how: settings of the predictor: tile, overlap, tta, precision.

    Raises:
        UsageError: ``good`` or ``risk`` outside 0..1, or a split that the model was trained on.
        ModelError: the model is of other classes than the dataset.
        DataError: fewer than ten pictures with anything to find, or one that can't be used.
    """
    for name, value in (("good", good), ("risk", risk)):
        if not 0 < value < 1:
            raise UsageError(f"{name}={value:g}: expected a share, above 0 and below 1")
    folder = open_dataset(data)
    check_fit(model, folder)
    known = kept_with(model)
    check_unseen_pictures(known, folder, split)
    samples = folder.samples(*split.split("+"))
    familiar = _trained_on(known.values(), folder)
    steps, total = count(1), len(samples) + len(familiar)

    def tell(name: str) -> None:
        if progress is not None:
            progress(next(steps), total, name)

    model.about = without_judge(model.about)  # an older judge may not even be readable
    predictor = Predictor(model, **how)
    signs, dice = signs_and_dice(predictor, folder, samples, tell)
    scored = ~np.isnan(dice)
    if scored.sum() < FEWEST:
        raise DataError(
            f"{folder.path}: split {split!r} has {int(scored.sum())} pictures with anything to find; at least {FEWEST} "
            "are needed to learn how good predictions are"
        )
    units, unit = units_of(folder, samples)
    if len(set(units[scored].tolist())) < FEWEST_UNITS:
        raise DataError(
            f"{folder.path}: the pictures of split {split!r} with anything to find are of fewer than {FEWEST_UNITS} "
            f"{unit}s: nothing tells how predictions on others will be"
        )
    quality = fit_quality(SIGNS, signs[scored], dice[scored], units[scored], good=good, risk=risk)
    ranges: list[Range] = []
    if familiar:
        met = []
        for sample in familiar:
            met.append(properties_of(seen_of(folder, sample, model.reader)))
            tell(sample.name)
        ranges = ranges_of(met)
    settings = PredictRecipe.model_construct(  # checked by the predictor
        tile=predictor.tile, tta=predictor.tta, threshold=predictor.threshold, postprocess=predictor.postprocess
    )
    judge = Judge(
        quality=quality,
        ranges=ranges,
        good=good,
        risk=risk,
        settings=settings_of(settings),
        disagrees=model.disagrees,
    )
    model.about = {**model.about, KEY: judge.model_dump(mode="json")}
    return Trusted(model, judge, (*_notes(judge, model, folder, split), *unlike_kept(model, how)))


def signs_and_dice(
    predictor: Predictor, folder: DatasetFolder, samples: Sequence[Sample], tell: Callable[[str], None] = lambda _: None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What each prediction says of its quality, [N, S], and its Dice, [N]: the mean over the classes that it has.

    Args:
        predictor: of the model.
        folder: the dataset.
        samples: its pictures.
        tell: called with a picture's name when it is done.
    """
    metrics = SegmentationMetrics(folder.classes, folder.task, folder.background, predictor.threshold)
    signs, dice = [], []
    for sample in samples:
        prediction = predict_sample(predictor, folder, sample)
        truth = folder.read_mask(sample, prediction.labels.shape[-2:])
        counts = metrics.update(sample.name, prediction.labels, truth)
        dice.append(float(mean_of_defined(overlap_scores(counts[None], metrics.kept)["dice"][:, metrics.kept])[0]))
        signs.append(signs_in(prediction))
        tell(sample.name)
    return np.array(signs), np.array(dice)


def _trained_on(known: Iterable[Mapping[str, Any]], folder: DatasetFolder) -> Sequence[Sample]:
    """The pictures that the model, or a member, was trained on, if they are in this dataset."""
    named = (split for about in known for split in trained_splits(about, folder.name))
    splits = dict.fromkeys(split for split in named if split in folder.splits)
    return folder.samples(*splits) if splits else []


def _notes(judge: Judge, model: AnyModel, folder: DatasetFolder, split: str) -> list[str]:
    notes, units = looked_at(kept_with(model), folder, split), judge.quality.units
    if not judge.ranges:
        notes.append("the pictures trained on aren't in this dataset: none will be called unlike them")
    fewest = int(np.ceil(1 / judge.risk)) - 1
    if units < fewest:
        what = "pictures" if units == judge.quality.images else "groups of pictures"
        notes.append(
            f"{units} {what} are too few for a risk of {judge.risk:g}: nothing will be accepted; it takes {fewest}"
        )
    elif judge.quality.cut is None:
        notes.append(f"no picture will be accepted: none is surely better than {judge.good:g}")
    return notes
