"""A training run: from a recipe and a dataset to a saved model and the folder that tells how it came about."""

import logging
import os
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Literal

import lightning as L
import torch
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.loggers import TensorBoardLogger
from rich.console import Console
from torch.utils.data import DataLoader

import segkit
from segkit.artifact import save
from segkit.data.dataset import EpochSampler, EvaluationDataset, SegmentationDataset, collate
from segkit.data.folder import DatasetFolder, Sample, open_dataset
from segkit.data.normalisation import channel_statistics
from segkit.data.reader import Reader
from segkit.ensemble import Ensemble
from segkit.errors import RecipeError, UsageError
from segkit.evaluation.report import evaluate
from segkit.files import atomic_path
from segkit.model import Segmenter
from segkit.precision import fastest
from segkit.recipe import DataRecipe, Member, Recipe, load_recipe
from segkit.training.callbacks import AveragedValidation, KeepBest, SamplePictures, kept_weights
from segkit.training.interrupt import StopRequest
from segkit.training.losses import build_loss
from segkit.training.module import TrainingModule
from segkit.training.progress import Bar, EpochTable
from segkit.training.samples import draw_samples

SAMPLES = 4  # pictures drawn of each member
ADVICE = (  # of Lightning's, on what is meant as it is
    ".*does not have many workers.*",
    ".*number of training batches.*",
    ".*no `val_dataloader`.*",
    ".*treespec, LeafSpec.*",
)
LIGHTNING_PRECISION: dict[str, Literal["32-true", "bf16-mixed", "16-mixed"]] = {
    "fp32": "32-true",
    "bf16": "bf16-mixed",
    "fp16": "16-mixed",
}


@dataclass(frozen=True)
class Run:
    """What a training run leaves behind."""

    model: Segmenter | Ensemble
    directory: Path
    metrics: dict[str, Any] = field(default_factory=dict)  # of the validation splits; empty where there are none
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
    plans = [_plan(member, recipe, folder) for member in recipe.members()]
    directory = _new_directory(Path(out), recipe.name)
    log = _Log(directory / "log.txt", Console(quiet=not console, soft_wrap=True))
    _write(directory / "recipe.yaml", recipe.to_yaml())
    log.say(f"{recipe.name}: {folder.name}, classes {', '.join(folder.classes)}; writing to {directory}")
    for note in folder.notes:
        log.say(f"note: {note}")

    stop = StopRequest(log.say)
    began = time.perf_counter()
    trained: list[tuple[Member, Segmenter]] = []
    for index, plan in enumerate(plans):
        place = directory if recipe.ensemble is None else directory / "members" / plan.member.name
        place.mkdir(parents=True, exist_ok=True)
        title = plan.member.name if len(plans) == 1 else f"{plan.member.name} ({index + 1}/{len(plans)})"
        trained.append((plan.member, _train_member(plan, recipe, folder, index, place, title, log, stop)))
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
        metrics = _score(model, folder, recipe, directory, log)
    state = "stopped early; model" if stop.requested else "model"
    log.say(f"{state} of {minutes:.1f} minutes saved in {directory / 'model'}")
    return Run(model, directory, metrics, stop.requested)


@dataclass(frozen=True)
class _Plan:
    """A member with everything that can be refused before the first step already built."""

    member: Member
    reader: Reader
    samples: list[Sample]
    validation: list[Sample]
    dataset: SegmentationDataset
    loss: torch.nn.Module
    normalisation: tuple[Sequence[float] | None, Sequence[float] | None]


def _plan(member: Member, recipe: Recipe, folder: DatasetFolder) -> _Plan:
    data = member.data
    if member.train.keep == "best" and not data.validate_on and member.train.early_stopping:
        raise RecipeError("train.early_stopping needs a split to score: set data.validate_on")
    reader = Reader(channels=data.channels, window=data.window)
    samples = folder.samples(*data.train_on)
    dataset = SegmentationDataset(
        folder,
        samples,
        reader,
        crop=data.crop,
        crops_per_image=data.crops_per_image,
        foreground=data.foreground,
        augment=data.augment,
        seed=member.train.seed,
        cache=data.cache,
    )
    loss = build_loss(
        recipe.loss,
        task=folder.task,
        classes=len(folder.classes),
        class_weights=recipe.class_weights,
        background=folder.background,
    )
    validation = folder.samples(*data.validate_on) if data.validate_on else []
    plan = _Plan(member, reader, samples, validation, dataset, loss, _normalisation(data, samples, reader))
    _build(plan, folder)  # only to find its faults now: the one that is trained is built from the member's seed
    return plan


def _build(plan: "_Plan", folder: DatasetFolder) -> Segmenter:
    model, data = plan.member.model, plan.member.data
    mean, std = plan.normalisation
    return Segmenter.create(
        model.backbone.model_dump(),
        neck=model.neck.model_dump(),
        head=model.head.model_dump(),
        stem=model.stem,
        in_channels=data.channels,
        classes=folder.classes,
        task=folder.task,
        background=folder.background,
        window=data.window,
        mean=mean,
        std=std,
        auxiliary=model.auxiliary,
    )


def _normalisation(
    data: DataRecipe, samples: Sequence[Sample], reader: Reader
) -> tuple[Sequence[float] | None, Sequence[float] | None]:
    if data.normalisation == "dataset":
        return channel_statistics(samples, reader)
    if data.normalisation == "none":
        return (0.0,) * data.channels, (1.0,) * data.channels
    if data.channels != 3:
        raise RecipeError(f"data.normalisation=imagenet is for 3 channels, not {data.channels}; use dataset")
    return None, None


def _train_member(
    plan: _Plan,
    recipe: Recipe,
    folder: DatasetFolder,
    index: int,
    place: Path,
    title: str,
    log: "_Log",
    stop: StopRequest,
) -> Segmenter:
    train = plan.member.train
    with _quiet():
        # Members differ by their first weights and by the order and shape of their crops.
        L.seed_everything(train.seed + index, workers=True, verbose=False)
        segmenter = _build(plan, folder)
        segmenter = segmenter.to(memory_format=torch.channels_last)
        plan.dataset.seed = train.seed + index
        loader = _loader(plan.dataset, train.batch, train.workers, train.seed + index)
        updates = train.epochs * max(1, len(loader) // train.accumulate)
        log.say(
            f"{title}: {sum(p.numel() for p in segmenter.parameters()):,} parameters, {len(plan.samples)} pictures, "
            f"{train.epochs} epochs of {len(loader)} steps"
        )
        module = TrainingModule(segmenter, plan.loss, train, recipe.predict, updates=updates)
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        best = KeepBest() if train.keep == "best" and plan.validation else None
        table = EpochTable(place, log.say)
        shown = (plan.validation or plan.samples)[:SAMPLES]

        def draw() -> None:
            draw_samples(segmenter, folder, shown, recipe.predict, place / "samples")

        callbacks: list[L.Callback] = [SamplePictures(draw), AveragedValidation(), table, Bar(title, log.console)]
        if best is not None:
            callbacks.insert(0, best)
        if train.early_stopping:
            callbacks.append(EarlyStopping("score", mode="max", patience=train.early_stopping, check_finite=False))
        trainer = L.Trainer(
            accelerator=device.type,
            devices=1,
            precision=LIGHTNING_PRECISION[fastest(device) if train.precision == "auto" else train.precision],
            max_epochs=train.epochs,
            accumulate_grad_batches=train.accumulate,
            check_val_every_n_epoch=train.validate_every,
            num_sanity_val_steps=0,
            deterministic=train.deterministic,
            logger=TensorBoardLogger(place, name="", version="tensorboard"),
            callbacks=callbacks,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
        )
        validation = [DataLoader(EvaluationDataset(folder, plan.validation, plan.reader), 1, collate_fn=collate)]
        with stop.listening(trainer):
            trainer.fit(module, loader, validation if plan.validation else None)
        segmenter.load_state_dict(dict(kept_weights(module, best)))
        segmenter = segmenter.cpu().to(memory_format=torch.contiguous_format).eval()
        draw()
    return segmenter


def _loader(dataset: SegmentationDataset, batch: int, workers: int | str, seed: int) -> DataLoader[dict[str, Any]]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    count = min(4, cores // 2) if workers == "auto" else int(workers)
    sampler = EpochSampler(len(dataset), seed=seed)
    return DataLoader(
        dataset,
        batch_size=batch,
        sampler=sampler,
        num_workers=count,
        collate_fn=collate,
        drop_last=len(dataset) >= batch,  # a last batch of one picture would break batch statistics
        persistent_workers=count > 0,
        worker_init_fn=_ignore_interrupts,
        pin_memory=torch.cuda.is_available(),
    )


def _ignore_interrupts(_worker: int) -> None:
    """Ctrl-C reaches every process of the terminal; only the parent may answer it."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _assemble(recipe: Recipe, trained: list[tuple[Member, Segmenter]]) -> Segmenter | Ensemble:
    if recipe.ensemble is None:
        return trained[0][1]
    weights = recipe.ensemble.weights
    return Ensemble(
        [segmenter for _, segmenter in trained],
        weights[: len(trained)] if weights is not None else None,
        names=[member.name for member, _ in trained],
    ).eval()


def _score(
    model: Segmenter | Ensemble, folder: DatasetFolder, recipe: Recipe, directory: Path, log: "_Log"
) -> dict[str, Any]:
    predict = recipe.predict.model_dump()
    report = evaluate(model, folder.path, split=recipe.data.validate_on[0], **predict)
    report.save(directory / "validation")
    log.say(report.table())
    model.about["metrics"] = report.headline()
    save(model, directory / "model")
    return report.metrics


class _Log:
    """Lines for the console and for ``log.txt``."""

    def __init__(self, path: Path, console: Console) -> None:
        self.path, self.console = path, console

    def say(self, line: str) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
        self.console.print(line, markup=False, highlight=False)


def _new_directory(out: Path, name: str) -> Path:
    """``out/name``, or the first of ``name-2``, ``name-3``, … that isn't there: a run never writes into another."""
    number = 1
    while True:
        directory = out / (name if number == 1 else f"{name}-{number}")
        try:
            directory.mkdir(parents=True)
            return directory
        except FileExistsError:
            number += 1
        except OSError as error:
            raise UsageError(
                f"{directory}: can't make the run's folder ({error.strerror}); choose another --out"
            ) from None


def _write(path: Path, text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Lightning's advertisements and its advice from the console; other warnings pass."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric", "lightning")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            for message in ADVICE:
                warnings.filterwarnings("ignore", message=message)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
