"""An ensemble's combination and temperatures, fitted on a split that its members haven't seen."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast, get_args

from segkit.allocator import reused_memory
from segkit.combining import Combination, Stack
from segkit.data.folder import open_dataset
from segkit.ensemble import Ensemble
from segkit.errors import UsageError
from segkit.evaluation.intervals import units_of
from segkit.evaluation.seen import check_unseen_pictures, kept_with, looked_at
from segkit.fitting.heldout import HeldOut, hold_out, windows, with_members
from segkit.fitting.information import guessing
from segkit.fitting.judge import Fit, Verdict, judge
from segkit.fitting.scores import member_scores
from segkit.fitting.temperature import at_ends, crossed, kept_temperature, temperature_of
from segkit.fitting.ways import Of, Shape, Weights, ways_to_fit
from segkit.labels import threshold_at
from segkit.model import Segmenter
from segkit.prediction.of_sample import check_fit
from segkit.prediction.predictor import Predictor
from segkit.prediction.settings import unlike_kept
from segkit.progress import Progress
from segkit.statistics import tempered
from segkit.task import Task
from segkit.training.losses import build_loss
from segkit.trusting.verdict import without_judge

SUREST = 10.0  # logit of a threshold; beyond it float32 tells too few probabilities from 1


@dataclass(frozen=True)
class Fitted:
    """An ensemble fitted, and what was found on the way.

    Attributes:
        model: the ensemble; its members are those given.
        verdict: how the fit did against equal weights on pictures it wasn't fitted on; None where nothing was fitted.
        scores: each member's own, by name: pooled Dice (binary) or mean IoU.
        score: what the scores are, in words.
        notes: what is to be said.
    """

    model: Ensemble
    verdict: Verdict | None
    scores: dict[str, float]
    score: str
    notes: tuple[str, ...]


@reused_memory()
def fit(
    ensemble: Ensemble,
    data: str | Path,
    split: str = "val",
    *,
    weights: Weights = "member",
    of: Of = "probabilities",
    temperature: bool = True,
    seed: int = 0,
    progress: Progress | None = None,
    **how: Any,
) -> Fitted:
    """Fit how an ensemble's members are combined, on a split that none of them was trained on.

    Members come first to temperatures of their own. Then weights, a gate or a stack are fitted by log loss and Dice; a
    member that tells nothing beyond how frequent each class is gets no weight. How strongly weights are drawn toward
    equal ones is chosen by cross-validation over the pictures (over the groups, where there are groups), and so is
    whether anything fitted is kept at all: it must do better than equal weights on pictures it didn't see. At last the
    whole comes to a temperature, none so low that thresholds kept with the models would become 0 or 1. A temperature is
    kept if it lowers the log loss of pictures it wasn't fitted on.

    Args:
        ensemble: of trained members; how it combined them before doesn't matter.
        data: the dataset's folder.
        split: its pictures are not among those that the members were trained on.
        weights: ``uniform``; ``score``, in proportion to each member's score on the split; ``member``, one fitted
            weight a member; ``class``, one a member and class; ``gate``, by pixel; ``stack``, a small network on top.
        of: what is averaged; a gate averages probabilities. A stack takes logits, and is held against this mean.
        temperature: fit temperatures too; without it they are 1.
        seed: of all draws.
        progress: called after each picture with the number done, the number of all, and the picture's name.
        **how: settings of the predictor: tile, overlap, tta, precision.

    Raises:
        UsageError: no ensemble, a value that isn't one of these, or a split that members were trained on.
        ModelError: members of other classes than the dataset.
        DataError: a picture or mask that can't be used.
    """
    _check(ensemble, weights, of, seed)
    folder = open_dataset(data)
    check_fit(ensemble, folder)
    samples = folder.samples(*split.split("+"))
    if weights in ("gate", "stack") and any(sample.volume for sample in samples):
        raise UsageError(
            f"weights={weights!r}: looks at the pixels around each, of pictures alone; take member or class"
        )
    known = kept_with(ensemble)
    of_whole = known.pop("the model")
    check_unseen_pictures({"the ensemble": of_whole, **known}, folder, split)
    segmenters = cast("list[Segmenter]", list(ensemble.members))
    bare = Ensemble(segmenters, names=ensemble.names)
    bare.about = _thresholds_moved(ensemble.about, 1 / ensemble.temperature, bare.task)  # of an earlier fit
    predictor = Predictor(bare, **how)
    done = iter(range(1, len(samples) + 1))

    def tell(name: str) -> None:
        if progress is not None:
            progress(next(done), len(samples), name)

    pictures = hold_out(bare, predictor, folder, samples, seed=seed, progress=tell)
    units = units_of(folder, samples)[0].tolist()
    notes = [note for note in (*looked_at(known, folder, split), windows(pictures)) if note]
    log_loss = build_loss({"cross_entropy": 1.0}, task=folder.task, classes=len(folder.classes))
    objective = build_loss({"cross_entropy": 1.0, "dice": 1.0}, task=folder.task, classes=len(folder.classes))

    count = len(bare.members)
    temperatures = [1.0] * count
    if temperature:
        for index in range(count):
            of_one = [replace(picture, members=picture.members[index : index + 1]) for picture in pictures]
            temperatures[index] = kept_temperature(of_one, units, bare.task, log_loss)
        pictures = [
            with_members(picture, lambda index, maps: tempered(maps, temperatures[index], bare.task))
            for picture in pictures
        ]
    without = guessing(pictures, bare.task, log_loss) if weights in ("member", "class") else []
    scores, score = member_scores(bare, pictures)
    shape = Shape(count, bare.maps, bare.task, bare.reader.channels)
    plain = shape.mean(of=of)
    ways: dict[str, Fit] = {"plain": lambda _: plain}
    verdict: Verdict | None = None
    if weights != "uniform":
        fits = (
            {"score": partial(_by_score, bare, shape, of)}
            if weights == "score"
            else ways_to_fit(weights, shape, of, objective, tempered=temperature, without=without, seed=seed)
        )
        temper = partial(temperature_of, log_loss=log_loss) if temperature else None
        verdict = judge(plain, fits, pictures, units, objective, temper=temper, seed=seed)
        ways |= fits
    best = ways[verdict.best if verdict is not None else "plain"]
    whole = 1.0
    if temperature:
        whole = kept_temperature(crossed(best, pictures, units, seed=seed), units, bare.task, log_loss)
        least = min(1.0, _coldest(bare.about, bare.task))
        if whole < least:
            whole = least
            notes.append(
                f"the whole: its temperature is held at {least:.3f}; a lower one would round the threshold kept with "
                "the models to 0 or 1"
            )
        notes += at_ends(dict(zip(bare.names, temperatures, strict=True)), whole)
    model = (
        Ensemble(
            segmenters,
            names=ensemble.names,
            combination=best(pictures),
            temperatures=temperatures,
            temperature=whole,
        )
        .to(predictor.device)
        .eval()
    )
    averaged = "logits" if isinstance(model.combination, Stack) else of
    about = {"dataset": folder.name, "split": split, "pictures": len(samples), "weights": weights, "of": averaged}
    if verdict is not None:
        about["kept"] = verdict.best != "plain"
        if about["kept"]:
            notes += [
                f"{name}: tells nothing of these pictures beyond how frequent each class is; its weight is 0"
                for name in (bare.names[index] for index in without)
            ]
        notes.insert(0, f"{weights}: {verdict.reason}")
    model.about = {**_thresholds_moved(without_judge(bare.about), whole, bare.task), "metrics": {}, "fitted_on": about}
    if weights != "uniform" or temperature:
        notes += unlike_kept(model, how)
    if whole != 1 and predictor.postprocess is not None and predictor.postprocess.smoothing:
        notes.append(
            "the whole's temperature changes what smoothing makes of the probabilities: run segkit postprocess again"
        )
    thresholds = predictor.postprocess is not None and predictor.postprocess.thresholds
    if whole != 1 and bare.task == "multiclass" and thresholds:
        notes.append(
            "the whole's temperature changes which pixels reach their classes' thresholds: run segkit postprocess again"
        )
    return Fitted(model, verdict, scores, score, tuple(notes))


def _by_score(ensemble: Ensemble, shape: Shape, of: Of, pictures: Sequence[HeldOut]) -> Combination:
    """The mean with weights in proportion to each member's score on the pictures; equal ones where none has any."""
    scores = [max(0.0, value) for value in member_scores(ensemble, pictures)[0].values()]  # NaN counts as 0
    return shape.mean(of=of, weights=scores if any(scores) else None)


def _thresholds_moved(about: Mapping[str, Any], temperature: float, task: Task) -> dict[str, Any]:
    """What is kept with a model, its thresholds moved along with a temperature, so that no label changes.

    Of softmax maps no threshold says the same, and none decides alone.
    """
    predict = about.get("predict")
    if predict is None or task == "multiclass":
        return dict(about)

    moved = partial(threshold_at, temperature=temperature)
    changed = {**predict, "threshold": moved(predict.get("threshold", 0.5))}
    steps = predict.get("postprocess")
    if steps and steps.get("thresholds"):
        changed["postprocess"] = {**steps, "thresholds": {k: moved(t) for k, t in steps["thresholds"].items()}}
    return {**about, "predict": changed}


def _coldest(about: Mapping[str, Any], task: Task) -> float:
    """The lowest temperature at which the thresholds kept with a model still tell probabilities apart."""
    predict = about.get("predict")
    if predict is None or task == "multiclass":
        return 0.0
    thresholds = [predict.get("threshold", 0.5), *((predict.get("postprocess") or {}).get("thresholds") or {}).values()]
    return max((abs(math.log(each / (1 - each))) for each in thresholds if 0 < each < 1), default=0.0) / SUREST


def _check(ensemble: Ensemble, weights: Weights, of: Of, seed: int) -> None:
    if not isinstance(ensemble, Ensemble):
        raise UsageError(f"{type(ensemble).__name__}: expected a segkit.Ensemble of trained models")
    if seed < 0:
        raise UsageError(f"seed={seed}: expected 0 or more")
    for name, value, choices in (("weights", weights, get_args(Weights)), ("of", of, get_args(Of))):
        if value not in choices:
            raise UsageError(f"{name}={value!r}: expected one of {', '.join(choices)}")
    if weights == "gate" and of == "logits":
        raise UsageError("a gate averages probabilities; leave of='logits' out")
