"""A pretraining run: from a recipe and data to a backbone's weights and the folder that tells how they came about."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import lightning as L
import torch
from rich.console import Console
from torch import nn

import segkit
from segkit.allocator import reused_memory
from segkit.devices import default_device
from segkit.errors import UsageError
from segkit.pretraining.backbone_file import BACKBONE
from segkit.pretraining.engine import fit
from segkit.pretraining.objective import Objective
from segkit.pretraining.recipe import PretrainRecipe
from segkit.recipe_file import load_as
from segkit.training.directory import new_run, unfinished_run
from segkit.training.interrupt import StopRequest
from segkit.training.log import Log
from segkit.training.optimizer import backbones_of
from segkit.workers import check_not_importing


@dataclass(frozen=True)
class PretrainRun:
    """What a pretraining run leaves behind.

    Attributes:
        directory: the run's folder.
        backbone: file with the backbone's weights, which ``{name: …, weights: PATH}`` in a recipe takes.
        model: all that was trained, on the CPU in evaluation mode: a ``Classifier`` for ``classify``.
        metrics: the validation split's figures of the weights that were kept; empty where there are none.
        interrupted: whether it was stopped early.
    """

    directory: Path
    backbone: Path
    model: nn.Module
    metrics: dict[str, float] = field(default_factory=dict)
    interrupted: bool = False


@runtime_checkable
class _Described(Protocol):
    """A model that is saved with what is known of it."""

    about: dict[str, Any]


@reused_memory()
def pretrain(
    recipe: str | Path | PretrainRecipe,
    data: str | Path | None = None,
    overrides: Sequence[str] = (),
    *,
    out: str | Path = "runs",
    resume: bool = False,
    console: bool = True,
) -> PretrainRun:
    """Train a backbone by what the recipe names, and leave its weights in the run's folder.

    The folder ``out/NAME`` (``NAME-2``, … where that is taken) holds the resolved recipe, log, tables, curves,
    ``backbone.safetensors`` and ``model/``. Ctrl-C or SIGTERM ends training after the step in hand and leaves both.
    A run that was ended so, or killed at any moment, goes on with ``resume`` from the end of an epoch, and then ends as
    if nothing had happened: with the same bits where the recipe says ``train.deterministic`` and not ``train.minutes``.

    Args:
        recipe: a shipped recipe's name, a YAML file, or a recipe.
        data: the images: see :func:`segkit.labelled.opening.open_labelled` for ``classify``; a dataset's folder for
            ``colour_depth``; a folder with ``captions.csv`` for ``captions``.
        overrides: ``key=value``, as on the command line.
        out: the folder that runs go to.
        resume: go on with the newest unfinished run of this recipe in ``out``. What may differ from its beginning is
            where the data are, ``data.cache`` and ``train.workers``.
        console: tell on the console what is done; ``log.txt`` has it in any case.

    Raises:
        UsageError, RecipeError: a wrong argument or recipe; nothing to resume, or only with another recipe.
        DataError: data that can't be trained on, or not those that the run to resume began with.
        ModelError: a damaged checkpoint.
    """
    check_not_importing()
    recipe = load_as(PretrainRecipe, recipe, overrides, data=data)
    if recipe.data.path is None:
        raise UsageError("no data given; name their folder or file: segkit pretrain RECIPE --data PATH")
    unfinished = unfinished_run(Path(out), recipe) if resume else None
    device = default_device()
    L.seed_everything(recipe.train.seed, workers=True, verbose=False)
    objective = _create(recipe, device)
    if unfinished is not None:
        unfinished.check_data(objective.digest, Path(recipe.data.path))
    notes = objective.prepare()  # an image that can't be read is told before there is a run
    run = unfinished or new_run(Path(out), recipe, objective.digest)
    log = Log(run.path / "log.txt", Console(quiet=not console, soft_wrap=True))
    with run.held():
        run.tidy()
        log.say(f"{recipe.name}: {recipe.objective} with {recipe.model.backbone.name}; writing to {run.path}")
        for note in notes:
            log.say(f"note: {note}")
        for backbone in backbones_of(objective.model):
            for trunk in backbone.trunks:
                if trunk.pretrained is not None:
                    log.say(f"weights: {trunk.pretrained}")
        stop = StopRequest(log.say)
        with stop.listening():
            fitted = fit(objective, recipe, run, log, stop, device)
            if isinstance(objective.model, _Described):
                objective.model.about = _about(
                    recipe, objective.dataset, fitted.minutes, fitted.metrics, finished=not stop.requested
                )
            objective.save(run.path)
        objective.model.cpu()
        if stop.requested:
            log.say(f"stopped early; {BACKBONE} of {fitted.minutes:.1f} minutes saved in {run.path}")
            log.say(run.going_on)
        else:
            figures = ", ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in fitted.metrics.items())
            log.say(f"weights that are kept: {figures}" if figures else "the last weights are kept")
            log.say(f"{BACKBONE} of {fitted.minutes:.1f} minutes saved in {run.path}")
            run.finish()
    return PretrainRun(run.path, run.path / BACKBONE, objective.model, fitted.metrics, stop.requested)


def _create(recipe: PretrainRecipe, device: torch.device) -> Objective:
    """The objective that the recipe names, from its module."""
    module = import_module(f"segkit.pretraining.{recipe.objective}")
    objective: Objective = module.create(recipe, device)
    return objective


def _about(
    recipe: PretrainRecipe, dataset: str, minutes: float, metrics: dict[str, float], *, finished: bool
) -> dict[str, Any]:
    """What is kept with a model."""
    chosen = recipe.data.validate_on and (recipe.train.keep == "best" or recipe.train.early_stopping)
    return {
        "trained_on": {
            "dataset": dataset,
            "splits": ", ".join(recipe.data.train_on),
            **({"chosen_on": recipe.data.validate_on} if chosen else {}),
            "recipe": recipe.name,
            "minutes": round(minutes, 1),
            "finished": finished,
            "date": date.today().isoformat(),
            "segkit": segkit.__version__,
            "torch": torch.__version__,
        },
        "metrics": {name: round(value, 6) for name, value in metrics.items()},
    }
