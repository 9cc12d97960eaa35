"""One member, from its plan to its trained weights, with Lightning."""

import logging
import os
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import lightning as L
import torch
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.loggers import TensorBoardLogger
from torch.utils.data import DataLoader

from segkit.data.dataset import EpochSampler, EvaluationDataset, collate
from segkit.data.folder import DatasetFolder
from segkit.errors import RecipeError, SegkitError
from segkit.model import Segmenter
from segkit.precision import fastest
from segkit.recipe import PredictRecipe
from segkit.training.callbacks import AveragedValidation, KeepBest, SamplePictures, kept_weights
from segkit.training.interrupt import StopRequest
from segkit.training.log import Log
from segkit.training.module import TrainingModule
from segkit.training.plan import Plan, build_segmenter
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


def train_member(
    plan: Plan, folder: DatasetFolder, predict: PredictRecipe, place: Path, title: str, log: Log, stop: StopRequest
) -> Segmenter:
    """Train what the plan holds and return the segmenter, on the CPU, in eval mode.

    Args:
        plan: what to train, on what.
        folder: the dataset.
        predict: how validation pictures are cut and thresholded.
        place: folder for tables, curves, samples and TensorBoard's events.
        title: the member's name on the console.
        log: where to say what is done.
        stop: asked for by Ctrl-C; ends training after the step in hand.

    Raises:
        RecipeError: training diverged before there were weights worth keeping.
    """
    train = plan.member.train
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with _without_advice():
        L.seed_everything(plan.seed, workers=True, verbose=False)
        # Convolutions on channels_last data run about twice as fast on CPUs and on tensor cores.
        segmenter = build_segmenter(plan, folder).to(memory_format=torch.channels_last)
        loader = _loader(plan)
        updates = train.epochs * -(-len(loader) // train.accumulate)
        log.say(
            f"{title}: {sum(p.numel() for p in segmenter.parameters()):,} parameters, {len(plan.samples)} pictures, "
            f"{train.epochs} epochs of {len(loader)} steps"
        )
        module = TrainingModule(segmenter, plan.loss, train, predict, updates=updates)
        shown = (plan.validation or plan.samples)[:SAMPLES]

        def draw() -> None:
            try:
                draw_samples(segmenter, folder, shown, predict, place / "samples")
            except (OSError, SegkitError) as error:  # pictures to look at must not cost the model
                log.say(f"sample pictures not drawn: {error}")

        best = KeepBest() if train.keep == "best" else None
        callbacks: list[L.Callback] = [
            # The first two look at the averaged weights, which the third puts in and takes out again.
            *([best] if best else []),
            SamplePictures(draw),
            AveragedValidation(),
            EpochTable(place, log.say),
            Bar(title, log.console),
            stop,
        ]
        deterministic_before = torch.are_deterministic_algorithms_enabled()
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
        validation = DataLoader(EvaluationDataset(folder, plan.validation, plan.reader), 1, collate_fn=collate)
        try:
            trainer.fit(module, loader, validation if plan.validation else None)
        finally:
            torch.use_deterministic_algorithms(deterministic_before)
        if module.diverged is not None and (best is None or best.weights is None):
            raise RecipeError(f"{title}: {module.diverged}; lower train.learning_rate, or set train.precision=fp32")
        segmenter.load_state_dict(dict(kept_weights(module, best)))
        segmenter = segmenter.cpu().eval()
        draw()
    return segmenter


def _loader(plan: Plan) -> DataLoader[dict[str, Any]]:
    train = plan.member.train
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    workers = min(4, cores // 2) if train.workers == "auto" else int(train.workers)
    return DataLoader(
        plan.dataset,
        batch_size=train.batch,
        sampler=EpochSampler(len(plan.dataset), seed=plan.seed),
        num_workers=workers,
        collate_fn=collate,
        drop_last=len(plan.dataset) >= train.batch,  # a last batch of one picture would break batch statistics
        persistent_workers=workers > 0,
        worker_init_fn=_ignore_interrupts,
        pin_memory=torch.cuda.is_available(),
    )


def _ignore_interrupts(_worker: int) -> None:
    """Ctrl-C reaches every process of the terminal; only the parent may answer it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def _without_advice() -> Iterator[None]:
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
