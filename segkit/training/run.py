"""A training run: from a recipe and a dataset to a saved model and the folder that tells how it came about."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

import segkit
from segkit.allocator import reused_memory
from segkit.artifact import load, save
from segkit.data.folder import DatasetFolder, open_dataset
from segkit.ensemble import Ensemble
from segkit.errors import RecipeError, UsageError
from segkit.evaluation.report import evaluate
from segkit.model import Segmenter
from segkit.recipe import Member, Recipe, load_recipe
from segkit.training.directory import RunDirectory, new_run, unfinished_run
from segkit.training.interrupt import StopRequest
from segkit.training.log import Log
from segkit.training.member import train_member
from segkit.training.plan import Plan, data_digest, make_plan


@dataclass(frozen=True)
class Run:
    """What a training run leaves behind."""

    model: Segmenter | Ensemble
    directory: Path
    metrics: dict[str, Any] = field(default_factory=dict)  # on the validation split; empty where there is none
    interrupted: bool = False


@reused_memory()
def train(
    recipe: str | Path | Recipe,
    data: str | Path | None = None,
    overrides: Sequence[str] = (),
    *,
    out: str | Path = "runs",
    resume: bool = False,
    console: bool = True,
) -> Run:
    """Train what the recipe describes and return the model with its run.

    An ensemble's members are trained one after the other, each with its own optimiser, schedule and seed. The run's
    folder ``out/NAME`` (``NAME-2``, … where that is taken) holds the resolved recipe, log, tables, curves, sample
    pictures and ``model/``. Ctrl-C or SIGTERM ends training after the step in hand and leaves a model that loads.

    A run that was ended so, or killed at any moment, goes on with ``resume`` from the end of an epoch, and then ends as
    if nothing had happened: with the same bits where the recipe says ``train.deterministic``.

    Args:
        recipe: a shipped recipe's name, a YAML file, or a recipe.
        data: the dataset's folder.
        overrides: ``key=value``, as on the command line.
        out: the folder that runs go to.
        resume: go on with the newest unfinished run of this recipe in ``out``. What may differ from its beginning is
            where the dataset is, ``data.cache`` and ``train.workers``.
        console: tell on the console what is done; ``log.txt`` has it in any case.

    Raises:
        UsageError, RecipeError: a wrong argument or recipe; nothing to resume, or only with another recipe.
        DataError: a dataset that can't be trained on, or not the one that the run to resume began with.
        ModelError: a damaged checkpoint.
    """
    recipe = load_recipe(recipe, overrides, data=data)
    if recipe.data.path is None:
        raise UsageError("no dataset given; name its folder: segkit train RECIPE --data FOLDER")
    folder = open_dataset(recipe.data.path)
    unfinished = unfinished_run(Path(out), recipe) if resume else None
    plans = [make_plan(member, index, recipe, folder) for index, member in enumerate(recipe.members())]
    _check_readers(plans)
    digest = data_digest(plans, folder)
    run = unfinished or new_run(Path(out), recipe, digest)
    run.check_data(digest, folder.path)
    log = Log(run.path / "log.txt", Console(quiet=not console, soft_wrap=True))
    with run.held():
        run.tidy()
        log.say(f"{recipe.name}: {folder.name}, classes {', '.join(folder.classes)}; writing to {run.path}")
        for note in folder.notes:
            log.say(f"note: {note}")
        return _go_on(plans, recipe, folder, run, log)


def _go_on(plans: Sequence[Plan], recipe: Recipe, folder: DatasetFolder, run: RunDirectory, log: Log) -> Run:
    """Train what the run hasn't trained yet, save the model, score it."""
    stop = StopRequest(log.say)
    with stop.listening():
        trained, minutes = _train_members(plans, recipe, folder, run, log, stop)
        model = _assemble(recipe, trained)
        model.about = {
            "trained_on": {
                "dataset": folder.name,
                "splits": ", ".join(recipe.data.train_on),
                "pictures": len(plans[0].samples),
                "recipe": recipe.name,
                "minutes": round(minutes, 1),
                "finished": not stop.requested,
                "date": date.today().isoformat(),
                "segkit": segkit.__version__,
                "torch": torch.__version__,
            },
            "metrics": {},
            "predict": recipe.predict.model_dump(),
        }
        save(model, run.path / "model")  # before scoring: whatever happens then, the model is there
    if stop.requested:
        log.say(f"stopped early; model of {minutes:.1f} minutes saved in {run.path / 'model'}")
        log.say("the same command with --resume goes on")
        return Run(model, run.path, interrupted=True)
    metrics: dict[str, Any] = {}
    if recipe.data.validate_on:
        with _deterministic(any(plan.member.train.deterministic for plan in plans)):
            metrics = _score(model, folder, recipe, recipe.data.validate_on, run.path, log)
    log.say(f"model of {minutes:.1f} minutes saved in {run.path / 'model'}")
    run.finish()
    return Run(model, run.path, metrics)


def _train_members(
    plans: Sequence[Plan], recipe: Recipe, folder: DatasetFolder, run: RunDirectory, log: Log, stop: StopRequest
) -> tuple[list[tuple[Member, Segmenter]], float]:
    """The members in order, as far as training went, and the minutes that all of them took."""
    trained: list[tuple[Member, Segmenter]] = []
    minutes = 0.0
    for plan in plans:
        name = plan.member.name
        place = run.path if recipe.ensemble is None else run.path / "members" / name
        if name not in run.minutes:
            place.mkdir(parents=True, exist_ok=True)
            title = name if len(plans) == 1 else f"{name} ({plan.index + 1}/{len(plans)})"
            member = train_member(plan, folder, recipe.predict, place, run.checkpoint(name), title, log, stop)
            member.segmenter.about = {"predict": recipe.predict.model_dump()}
            save(member.segmenter, place / "model")  # what happens to the next member can't take this one away
            minutes += member.minutes
            if member.complete:
                run.finish_member(name, member.minutes)
        else:
            minutes += run.minutes[name]
        segmenter = load(place / "model")  # also of a member just trained, so that resuming makes no difference
        assert isinstance(segmenter, Segmenter)
        trained.append((plan.member, segmenter))
        if stop.requested:
            break
    return trained, minutes


def _check_readers(plans: Sequence[Plan]) -> None:
    for plan in plans[1:]:
        if plan.reader != plans[0].reader:
            raise RecipeError(
                f"member {plan.member.name!r} reads with {plan.reader}, {plans[0].member.name!r} with "
                f"{plans[0].reader}; an ensemble's members take the same data.channels and data.window"
            )


def _assemble(recipe: Recipe, trained: list[tuple[Member, Segmenter]]) -> Segmenter | Ensemble:
    if recipe.ensemble is None:
        return trained[0][1]
    weights = (recipe.ensemble.weights or [])[: len(trained)]  # fewer than named where training was stopped
    return Ensemble(
        [segmenter for _, segmenter in trained],
        weights if sum(weights) > 0 else None,
        names=[member.name for member, _ in trained],
    ).eval()


@contextmanager
def _deterministic(wanted: bool) -> Iterator[None]:
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(wanted or before)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def _score(
    model: Segmenter | Ensemble, folder: DatasetFolder, recipe: Recipe, split: str, directory: Path, log: Log
) -> dict[str, Any]:
    predict = recipe.predict.model_dump()
    report = evaluate(model, folder.path, split, **predict)
    report.save(directory / "validation")
    log.say(report.table())
    model.about["metrics"] = report.headline()
    save(model, directory / "model")
    return report.metrics
