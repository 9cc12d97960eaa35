"""A model taught how good its predictions are, on pictures that it hasn't seen."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from segkit.allocator import reused_memory
from segkit.artifact import AnyModel
from segkit.data.folder import DatasetFolder, Sample, open_dataset
from segkit.data.picture import open_picture
from segkit.errors import DataError, UsageError
from segkit.evaluation.intervals import units_of
from segkit.evaluation.metrics import SegmentationMetrics
from segkit.evaluation.report import check_fit
from segkit.evaluation.scores import mean_of_defined, overlap_scores
from segkit.fitting.seen import check_unseen
from segkit.prediction.predictor import Predictor
from segkit.prediction.scaled import scaled
from segkit.trusting.familiar import Range, properties_of, ranges_of
from segkit.trusting.quality import FEWEST, fit_quality
from segkit.trusting.signs import SIGNS
from segkit.trusting.verdict import KEY, Judge, signs_in

GOOD, RISK = 0.8, 0.1


@dataclass(frozen=True)
class Trusted:
    """A model that can judge its predictions.

    Attributes:
        model: the same model; what it judges by is in ``about``.
        judge: that.
        accepted: share of the pictures that it was fitted on that it would accept.
        worse: share of those accepted whose Dice is below what counts as good.
        notes: what is to be said.
    """

    model: AnyModel
    judge: Judge
    accepted: float
    worse: float | None
    notes: tuple[str, ...]


@reused_memory()
def trust(
    model: AnyModel,
    data: str | Path,
    split: str = "val",
    *,
    good: float = GOOD,
    risk: float = RISK,
    progress: Callable[[int, int, str], None] | None = None,
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
    for each in split.split("+"):
        check_unseen("the model", model.about, folder, each)
    samples = folder.samples(*split.split("+"))
    familiar = _trained_on(model, folder)
    steps, total = count(1), len(samples) + len(familiar)

    def tell(name: str) -> None:
        if progress is not None:
            progress(next(steps), total, name)

    predictor = Predictor(model, **how)
    metrics = SegmentationMetrics(folder.classes, folder.task, folder.background, predictor.threshold)
    signs, dice = [], []
    for sample in samples:
        prediction = predictor.predict(sample.image)
        truth = folder.read_mask(sample, prediction.labels.shape[-2:])
        counts = metrics.update(sample.name, prediction.labels, truth)
        dice.append(float(mean_of_defined(overlap_scores(counts[None], metrics.kept)["dice"][:, metrics.kept])[0]))
        signs.append(signs_in(prediction))
        tell(sample.name)
    scored = ~np.isnan(dice)
    if scored.sum() < FEWEST:
        raise DataError(
            f"{folder.path}: split {split!r} has {int(scored.sum())} pictures with anything to find; at least {FEWEST} "
            "are needed to learn how good predictions are"
        )
    units = units_of(folder, samples)[0][scored]
    quality = fit_quality(SIGNS, np.array(signs)[scored], np.array(dice)[scored], units)
    ranges: list[Range] = []
    if familiar:
        met = []
        for sample in familiar:
            met.append(properties_of(scaled(open_picture(sample.image), model.reader, str(sample.image))))
            tell(sample.name)
        ranges = ranges_of(met)
    judge = Judge(quality=quality, ranges=ranges, good=good, risk=risk)
    bounds = np.array([quality.bound(each, risk) for each in np.array(signs)[scored]])
    accepted, true = bounds >= good, np.array(dice)[scored]
    model.about = {**model.about, KEY: judge.model_dump(mode="json")}
    return Trusted(
        model,
        judge,
        accepted=float(accepted.mean()),
        worse=float((true[accepted] < good).mean()) if accepted.any() else None,
        notes=tuple(_notes(judge, int(scored.sum()), accepted=bool(accepted.any()))),
    )


def _trained_on(model: AnyModel, folder: DatasetFolder) -> Sequence[Sample]:
    """The pictures that the model was trained on, if they are in this dataset."""
    trained = model.about.get("trained_on", {})
    splits = [split for split in str(trained.get("splits", "")).split(", ") if split in folder.splits]
    return folder.samples(*splits) if trained.get("dataset") == folder.name and splits else []


def _notes(judge: Judge, images: int, *, accepted: bool) -> list[str]:
    notes = []
    if not judge.ranges:
        notes.append("the pictures trained on aren't in this dataset: none will be called unlike them")
    if judge.risk * (images + 1) < 1:
        notes.append(
            f"{images} pictures are too few for a risk of {judge.risk:g}: nothing will be accepted; "
            f"it takes {int(np.ceil(1 / judge.risk)) - 1}"
        )
    elif not accepted:
        notes.append(f"no picture would be accepted: none is surely better than {judge.good:g}")
    return notes
