"""A training run: from a recipe and a dataset to a saved model and the folder that tells how it came about."""

import contextlib
import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

import segkit
from segkit.artifact import save
from segkit.data.folder import DatasetFolder, open_dataset
from segkit.ensemble import Ensemble
from segkit.errors import RecipeError, UsageError
from segkit.evaluation.report import evaluate
from segkit.files import atomic_path
from segkit.model import Segmenter
from segkit.recipe import Member, Recipe, load_recipe
from segkit.training.interrupt import StopRequest
from segkit.training.log import Log
from segkit.training.member import train_member
from segkit.training.plan import Plan, make_plan


@dataclass(frozen=True)
class Run:
    """What a training run leaves behind."""

    model: Segmenter | Ensemble
    directory: Path
    metrics: dict[str, Any] = field(default_factory=dict)  # on the validation split; empty where there is none
    interrupted: bool = False


def train(
    recipe: str | Path | Recipe,
    data: str | Path | None = None,
    overrides: Sequence[str] = (),
    *,
    out: str | Path = "runs",
    console: bool = True,
) -> Run:
    """Train what the recipe describes and return the model with its run.

    An ensemble's members are trained one after the other, each with its own optimiser, schedule and seed. The run's
    folder ``out/NAME`` (``NAME-2``, … where that is taken) holds the resolved recipe, log, tables, curves, sample
    pictures and ``model/``. Ctrl-C ends training after the step in hand and leaves a model that loads.

    Args:
        recipe: a shipped recipe's name, a YAML file, or a recipe.
        data: the dataset's folder.
        overrides: ``key=value``, as on the command line.
        out: the folder that runs go to.
        console: tell on the console what is done; ``log.txt`` has it in any case.

    Raises:
        UsageError, RecipeError: a wrong argument or recipe.
        DataError: a dataset that can't be trained on.
    """
    recipe = load_recipe(recipe, overrides, data=data)
    if recipe.data.path is None:
        raise UsageError("no dataset given; name its folder: segkit train RECIPE --data FOLDER")
    folder = open_dataset(recipe.data.path)
    plans = [make_plan(member, index, recipe, folder) for index, member in enumerate(recipe.members())]
    _check_readers(plans)
    directory = _new_directory(Path(out), recipe.name)
    log = Log(directory / "log.txt", Console(quiet=not console, soft_wrap=True))
    _write(directory / "recipe.yaml", recipe.to_yaml())
    log.say(f"{recipe.name}: {folder.name}, classes {', '.join(folder.classes)}; writing to {directory}")
    for note in folder.notes:
        log.say(f"note: {note}")

    stop = StopRequest(log.say)
    began = time.perf_counter()
    trained: list[tuple[Member, Segmenter]] = []
    with stop.listening():
        for plan in plans:
            place = directory if recipe.ensemble is None else directory / "members" / plan.member.name
            place.mkdir(parents=True, exist_ok=True)
            title = plan.member.name if len(plans) == 1 else f"{plan.member.name} ({plan.index + 1}/{len(plans)})"
            segmenter = train_member(plan, folder, recipe.predict, place, title, log, stop)
            trained.append((plan.member, segmenter))
            if recipe.ensemble is not None:
                segmenter.about = {"predict": recipe.predict.model_dump()}
                save(segmenter, place / "model")  # what happens to the next member can't take this one away
            if stop.requested:
                break

    model = _assemble(recipe, trained)
    minutes = (time.perf_counter() - began) / 60
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
    save(model, directory / "model")  # before scoring: whatever happens then, the model is there
    metrics: dict[str, Any] = {}
    if recipe.data.validate_on and not stop.requested:
        metrics = _score(model, folder, recipe, recipe.data.validate_on, directory, log)
    state = "stopped early; model" if stop.requested else "model"
    log.say(f"{state} of {minutes:.1f} minutes saved in {directory / 'model'}")
    return Run(model, directory, metrics, stop.requested)


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


def _new_directory(out: Path, name: str) -> Path:
    """``out/name``, or the first of ``name-2``, ``name-3``, … that isn't there: a run never writes into another."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        for number in itertools.count(1):
            directory = out / (name if number == 1 else f"{name}-{number}")
            with contextlib.suppress(FileExistsError):
                directory.mkdir()
                break
    except OSError as error:
        raise UsageError(f"{out}: can't make the run's folder ({error.strerror}); choose another --out") from None
    return directory


def _write(path: Path, text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
