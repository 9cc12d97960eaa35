"""A training run: from a recipe and a dataset to a saved model and the folder that tells how it came about."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

import segkit
from segkit.allocator import reused_memory
from segkit.artifact import load_segmentation, save
from segkit.data.folder import DatasetFolder, Sample, open_dataset
from segkit.ensemble import Ensemble
from segkit.errors import RecipeError, UsageError
from segkit.medical.slide import without_resolution
from segkit.model import Segmenter
from segkit.recipe import Recipe
from segkit.recipe_file import load_recipe
from segkit.training.assembly import assembled, ensemble_of, makes_ensemble
from segkit.training.checks import case_of, check_predict, check_readers, check_validation, check_volumes
from segkit.training.digest import data_digest
from segkit.training.directory import RunDirectory, new_run, unfinished_run
from segkit.training.interrupt import StopRequest
from segkit.training.log import Log
from segkit.training.member import Place, train_members
from segkit.training.plan import Plan, make_plans, pool
from segkit.training.scoring import scored
from segkit.training.teacher import mistakes, open_teacher, teach, unlabelled_pictures
from segkit.workers import check_not_importing

JOINT = "_joint"  # checkpoint of members trained together; no member can be called so
FLAT = 0.05  # deviation of depth over its mean; a zoom by a tenth changes metres by two of these


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

    An ensemble's members are trained one after the other, each with its own optimiser, schedule and seed; with
    ``folds`` each once without every part of the pictures, with ``seeds`` each several times. With a ``teacher`` its
    probabilities are learnt beside the masks. The run's
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
    check_not_importing()
    recipe = load_recipe(recipe, overrides, data=data)
    if recipe.data.path is None:
        raise UsageError("no dataset given; name its folder: segkit train RECIPE --data FOLDER")
    folder = open_dataset(recipe.data.path)
    check_predict(recipe.predict, folder, recipe.data.mpp)
    unfinished = unfinished_run(Path(out), recipe) if resume else None
    teacher = open_teacher(recipe.teacher, folder) if recipe.teacher is not None else None
    unlabelled: list[Sample] = []
    if recipe.teacher is not None:
        unlabelled = unlabelled_pictures(recipe.teacher, Path(out), folder)
    plans = make_plans(recipe, folder, unlabelled=unlabelled, teacher=teacher)
    check_readers(plans, teacher)
    check_volumes(recipe.predict, plans)
    check_validation(plans)
    digest = data_digest(plans, folder, teacher)
    run = unfinished or new_run(Path(out), recipe, digest)
    run.check_data(digest, folder.path)
    log = Log(run.path / "log.txt", Console(quiet=not console, soft_wrap=True))
    with run.held():
        run.tidy()
        log.say(f"{recipe.name}: {folder.name}, classes {', '.join(folder.classes)}; writing to {run.path}")
        for note in (*folder.notes, *_notes(recipe, plans, unlabelled)):
            log.say(f"note: {note}")
        if teacher is not None:
            for plan in plans:
                inside = plan.member.data.inside_roi
                kept = run.scratch / ("teacher" if inside else "teacher outside too")
                plan.dataset.beside = teach(teacher, plan.dataset.samples, folder, kept, log.say, inside_roi=inside)
            teacher.to("cpu")  # where there is a GPU, it is for the student
        return _go_on(plans, recipe, folder, run, log)


def _go_on(plans: Sequence[Plan], recipe: Recipe, folder: DatasetFolder, run: RunDirectory, log: Log) -> Run:
    """Train what the run hasn't trained yet, save the model, score it."""
    stop = StopRequest(log.say)
    with stop.listening():
        trained, minutes = _train_members(plans, recipe, folder, run, log, stop)
        model = assembled(recipe, plans, trained)
        pictures = {sample.name for plan in plans for sample in (*plan.samples, *plan.held_out)}
        model.about = {
            **model.about,
            **_about(recipe, plans, folder, minutes, pictures=len(pictures), finished=not stop.requested),
        }
        save(model, run.path / "model")  # before scoring: whatever happens then, the model is there
    if stop.requested:
        log.say(f"stopped early; model of {minutes:.1f} minutes saved in {run.path / 'model'}")
        log.say(run.going_on)
        return Run(model, run.path, interrupted=True)
    metrics = scored(model, plans, trained, folder, recipe, run.path, log)
    log.say(f"model of {minutes:.1f} minutes saved in {run.path / 'model'}")
    run.finish()
    return Run(model, run.path, metrics)


def _train_members(
    plans: Sequence[Plan], recipe: Recipe, folder: DatasetFolder, run: RunDirectory, log: Log, stop: StopRequest
) -> tuple[list[Segmenter], float]:
    """The members in order, as far as training went, and the minutes that all of them took."""
    trained: list[Segmenter] = []
    minutes = 0.0
    for group in [plans] if recipe.joint else [[plan] for plan in plans]:
        names = [plan.member.name for plan in group]
        titles = [f"{name} ({plan.index + 1}/{len(plans)})" for name, plan in zip(names, group, strict=True)]
        folders = [run.path / "members" / name for name in names] if makes_ensemble(recipe) else [run.path]
        places = [Place(*each) for each in zip(names if len(plans) == 1 else titles, folders, strict=True)]
        if all(name in run.minutes for name in names):
            minutes += sum(run.minutes[name] for name in names)
        else:
            if group[0].member.boost:
                log.say(f"{titles[0]}: looks where the members before it are wrong")
                so_far = ensemble_of(recipe, plans, trained)
                kept = run.scratch / f"before {names[0]}"
                group[0].dataset.beside = mistakes(
                    so_far,
                    group[0].dataset.samples,
                    folder,
                    kept,
                    inside_roi=group[0].member.data.inside_roi,
                    stopped=lambda: stop.requested,
                )
                so_far.cpu()
                if stop.requested:
                    break
            for place in places:
                place.folder.mkdir(parents=True, exist_ok=True)
            checkpoint = run.checkpoint(names[0] if len(names) == 1 else JOINT)
            members = train_members(group, folder, recipe.predict, places, checkpoint, log, stop)
            minutes += sum(member.minutes for member in members)
            for plan, place, member in zip(group, places, members, strict=True):
                if member.fault is not None:
                    continue
                counted = len(plan.samples)
                finished = member.complete and member.diverged is None
                about = _about(recipe, [plan], folder, member.minutes, pictures=counted, finished=finished)
                member.segmenter.about = {"ancestor": member.ancestor, **about}
                # What happens to the next member can't take this one away.
                save(member.segmenter, place.folder / "model")
            faults = [member.fault for member in members if member.fault is not None]
            if faults:
                others = "" if len(faults) == len(members) else f"; the other members are in {run.path / 'members'}"
                raise RecipeError(faults[0] + others)
            for name, member in zip(names, members, strict=True):
                if member.complete:
                    run.finish_member(name, member.minutes)
        for place in places:
            # Also of a member just trained, so that resuming makes no difference.
            segmenter = load_segmentation(place.folder / "model")
            assert isinstance(segmenter, Segmenter)
            trained.append(segmenter)
        if stop.requested:
            break
    return trained, minutes


def _notes(recipe: Recipe, plans: Sequence[Plan], unlabelled: Sequence[Sample]) -> Iterator[str]:
    """What was decided otherwise than asked, or isn't said anywhere else."""
    if recipe.data.mpp is not None:
        images = dict.fromkeys(sample.image for plan in plans for sample in plan.dataset.samples)
        silent = without_resolution(images)
        if silent:
            yield (
                f"{silent} of {len(images)} pictures don't say their resolution; they are taken as they are, for "
                f"{recipe.data.mpp:g} microns per pixel"
            )
    asked = plans[0].reader.slices.spacing if plans[0].reader.slices is not None else None
    if asked is not None:
        volumes = {s.image: case_of(plan, s).spaced for plan in plans for s in plan.dataset.samples if s.volume}
        silent = sum(not spaced for spaced in volumes.values())
        if silent:
            yield (
                f"{silent} of {len(volumes)} volumes don't say how large their voxels are; their slices are taken as "
                f"they are, for {asked:g} mm a pixel"
            )
    found = len({plan.member.fold for plan in plans})
    if recipe.folds is not None and found < recipe.folds:
        yield f"{found} folds instead of {recipe.folds}: there are no more pictures, or groups of them"
    for plan in plans:
        numbers = plan.encoding or {"per_picture": True}
        if plan.reader.metric and not numbers.get("per_picture"):
            mean, deviation = abs(numbers["mean"][0]), numbers["std"][0]
            if deviation < FLAT * mean:
                yield (
                    f"{plan.member.name}: depth varies by {deviation / mean:.1%} of its mean, less than zooming "
                    "changes it; model.encoding with per_picture: true looks at each picture's own relief"
                )
        if plan.member.model.start is not None:
            learnt, here = load_segmentation(plan.member.model.start).classes, plan.dataset.folder.classes
            if tuple(learnt) != tuple(here):
                yield (
                    f"{plan.member.name}: model.start draws {', '.join(learnt)}; here they go on, in this order, as "
                    f"{', '.join(here)}"
                )
    if unlabelled:
        yield f"{len(unlabelled)} pictures without masks, which the teacher labels"


def _about(
    recipe: Recipe, plans: Sequence[Plan], folder: DatasetFolder, minutes: float, *, pictures: int, finished: bool
) -> dict[str, Any]:
    """What is kept with a model of these members."""
    members = [plan.member for plan in plans]
    splits, chosen = [split for member in members for split in member.data.train_on], []
    if recipe.folds is not None:
        splits = pool(recipe)
    for plan in plans:  # what the weights it began with, or its teacher, have seen, it has seen
        splits = [*splits, *plan.seen]
    if recipe.folds is None:
        choosing = [each for each in members if each.train.keep == "best" or each.train.early_stopping is not None]
        chosen = [each.data.validate_on for each in choosing if each.data.validate_on is not None]
    return {
        "trained_on": {
            "dataset": folder.name,
            "splits": ", ".join(dict.fromkeys(splits)),
            "pictures": pictures,
            "recipe": recipe.name,
            **({"chosen_on": ", ".join(dict.fromkeys(chosen))} if chosen else {}),
            "minutes": round(minutes, 1),
            "finished": finished,
            **({"depth": "brought onto the pictures"} if folder.alignment is not None else {}),
            "date": date.today().isoformat(),
            "segkit": segkit.__version__,
            "torch": torch.__version__,
        },
        "metrics": {},
        "predict": recipe.predict.model_dump(),
    }
