"""What a trained model is worth: scores on the validation split, or of every picture out of its fold."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from segkit.artifact import save
from segkit.data.folder import DatasetFolder
from segkit.ensemble import Ensemble
from segkit.errors import NotFiniteError, RecipeError
from segkit.evaluation.report import Report, evaluate
from segkit.model import Segmenter
from segkit.prediction.of_sample import predict_sample
from segkit.prediction.prediction import Prediction
from segkit.prediction.predictor import Predictor
from segkit.recipe import Recipe
from segkit.training.assembly import usable, weights_of
from segkit.training.log import Log
from segkit.training.plan import Plan, pool
from segkit.training.trainer import deterministic

OUT_OF_FOLD = "out_of_fold"
"""Folder of a run with each picture's mask and probabilities by the members that weren't trained on it."""


def scored(
    model: Segmenter | Ensemble,
    plans: Sequence[Plan],
    trained: Sequence[Segmenter],
    folder: DatasetFolder,
    recipe: Recipe,
    directory: Path,
    log: Log,
) -> dict[str, Any]:
    """The metrics of a run's model, whose report goes into the run's folder and whose headline stays with the model.

    Args:
        model: of all members.
        plans: the members', in order.
        trained: the members.
        folder: the dataset.
        recipe: the run's.
        directory: the run's folder.
        log: told the table of scores.

    Returns:
        as :attr:`segkit.evaluation.report.Report.metrics`; empty without folds or a validation split.

    Raises:
        RecipeError: the model makes what isn't finite of some picture.
    """
    with deterministic(any(plan.member.train.deterministic for plan in plans)), _finite_maps():
        if recipe.folds is not None:
            report = _out_of_fold(plans, trained, folder, recipe, directory / OUT_OF_FOLD)
            log.say(f"every picture by the members that weren't trained on it: {directory / OUT_OF_FOLD}")
        elif recipe.data.validate_on:
            report = evaluate(model, folder.path, recipe.data.validate_on)
        else:
            return {}
    report.save(directory / "validation")
    log.say(report.table())
    model.about["metrics"] = report.headline()
    save(model, directory / "model")
    return report.metrics


@contextmanager
def _finite_maps() -> Iterator[None]:
    """A model whose weights are finite, and what it makes of pictures isn't, is the recipe's fault."""
    try:
        yield
    except NotFiniteError as error:
        cure = "lower train.learning_rate, or compute in fp32 (train.precision, predict.precision)"
        raise RecipeError(f"{error} If it was, {cure}") from error


def _out_of_fold(
    plans: Sequence[Plan], trained: Sequence[Segmenter], folder: DatasetFolder, recipe: Recipe, out: Path
) -> Report:
    """Every picture by the members that weren't trained on it: masks and probabilities in ``out``, and their scores."""
    weights = weights_of(recipe, plans)
    for fold in sorted({plan.member.fold or 0 for plan in plans}):
        places = [place for place, plan in enumerate(plans) if plan.member.fold == fold]
        members = Ensemble(
            [trained[place] for place in places],
            usable([weights[place] for place in places]),
            names=[plans[place].member.name for place in places],
        ).eval()
        members.about = {"predict": recipe.predict.model_dump()}
        predictor = Predictor(members)
        for sample in plans[places[0]].held_out:
            if sample.volume:
                predicted: Prediction = predictor.predict_case(sample.image)
            else:
                predicted = predict_sample(predictor, folder, sample)
            replace(predicted, name=sample.name).save(out, probability=True)  # a series has a name of its own
        members.cpu()  # where the others are, and the ensemble of all
    report = evaluate(out, folder.path, "+".join(pool(recipe)))
    if any(
        plan.validation and (plan.member.train.keep == "best" or plan.member.train.early_stopping) for plan in plans
    ):
        report.metrics["notes"].append(
            "each fold also chose when to stop, or which weights to keep, of the members that it scores: these scores "
            "are a little too good; with train.keep=last they aren't"
        )
    # Folds have no teacher: what is seen is what the weights they begin with have seen.
    learnt = {stem for plan in plans for split in plan.seen for stem in folder.splits.get(split, ())}
    if known := sum(sample.name in learnt for sample in folder.samples(*pool(recipe))):
        report.metrics["notes"].append(
            f"the members began (model.start) with weights that were trained on {known} of these pictures: these "
            "scores say little about new images"
        )
    return report
