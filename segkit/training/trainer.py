"""Lightning's trainer as every kind of training here uses it: one device, our own callbacks, nothing on the console."""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import lightning as L
import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch.loggers import TensorBoardLogger

from segkit.errors import RecipeError
from segkit.one_line import one_line
from segkit.precision import Precision, fastest
from segkit.sections import OptimisationRecipe

ADVICE = (  # of Lightning's, on what is meant as it is
    ".*does not have many workers.*",
    ".*number of training batches.*",
    ".*no `val_dataloader`.*",
    ".*in eval mode at the start of training.*",  # frozen stages
    ".*treespec, LeafSpec.*",
    ".*GPU available but not used.*",  # Apple's
)
LIGHTNING_PRECISION: dict[Precision, Literal["32-true", "bf16-mixed", "16-mixed"]] = {
    "fp32": "32-true",
    "bf16": "bf16-mixed",
    "fp16": "16-mixed",
}


def arithmetic(asked: Precision | Literal["auto"], device: torch.device) -> Precision:
    """What is computed in; RecipeError for fp16 without a GPU."""
    if asked == "fp16" and device.type == "cpu":
        raise RecipeError("train.precision=fp16: processors don't compute it; take bf16, fp32 or auto")
    return fastest(device) if asked == "auto" else asked


@contextmanager
def deterministic(wanted: bool) -> Iterator[None]:
    """Let PyTorch compute the same bits again, if that is wanted; afterwards all is as it was."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(wanted or before)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


@contextmanager
def within_limits(batch: int) -> Iterator[None]:
    """What a machine can't do is a RecipeError that names the key and what would go.

    Too little memory of a GPU for steps of so many; too little that processes share; a GPU's operation that can't be
    deterministic.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise RecipeError(
            f"train.batch={batch} takes more memory than the GPU has; take less (train.accumulate makes up for it), "
            "smaller crops or images, or train.gradient_checkpointing=true"
        ) from error
    except RuntimeError as error:
        if "does not have a deterministic implementation" in str(error):
            raise RecipeError(f"train.deterministic: this GPU can't ({one_line(error)}); leave it out") from error
        if "DataLoader worker (pid" in str(error):  # not what one raised, which is said to be in a worker, too
            raise RecipeError(
                f"train.workers: a process that reads was ended ({one_line(error)}), most often for want of memory "
                "that processes share; set train.workers=0, or give a container more (docker run --shm-size=2g)"
            ) from error
        raise


def make_trainer(
    train: OptimisationRecipe,
    callbacks: Sequence[L.Callback],
    *,
    device: torch.device,
    precision: Precision,
    folders: Sequence[Path],
    epochs_done: int,
    accumulate: int,
) -> L.Trainer:
    """A trainer that goes by the recipe.

    Args:
        train: epochs, validations, determinism.
        callbacks: in order.
        device: where it computes.
        precision: in which arithmetic.
        folders: for TensorBoard's events, one for each network; the first is for whatever else Lightning writes.
        epochs_done: by earlier processes; what a killed one logged of epochs that come again is hidden.
        accumulate: steps whose gradients it sums into one update.
    """
    purge = epochs_done + 1 if epochs_done else None
    return L.Trainer(
        accelerator=device.type,
        devices=1,
        precision=LIGHTNING_PRECISION[precision],
        max_epochs=train.epochs,
        accumulate_grad_batches=accumulate,
        check_val_every_n_epoch=train.validate_every,
        num_sanity_val_steps=0,
        deterministic=train.deterministic,
        logger=[TensorBoardLogger(each, name="", version="tensorboard", purge_step=purge) for each in folders],
        callbacks=[_LastValidation(), *callbacks],
        plugins=LightningEnvironment(),  # one process, also where a cluster's scheduler offers more
        default_root_dir=folders[0],
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )


class _LastValidation(L.Callback):
    """Validate after the last epoch too, whose number may be no multiple of ``validate_every``."""

    def on_train_epoch_start(self, trainer: L.Trainer, _module: L.LightningModule) -> None:
        if trainer.current_epoch + 1 == trainer.max_epochs:
            trainer.check_val_every_n_epoch = 1


@contextmanager
def without_advice() -> Iterator[None]:
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
