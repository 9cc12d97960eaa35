"""An objective, from its first step to the weights that are kept, with Lightning."""

import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass

import lightning as L
import torch
from lightning.pytorch.callbacks import EarlyStopping

from segkit.backbones.recompute import recompute_stages
from segkit.errors import RecipeError
from segkit.pretraining.allotted_time import AllottedTime
from segkit.pretraining.module import PretrainModule
from segkit.pretraining.objective import Batch, Objective
from segkit.pretraining.recipe import PretrainRecipe
from segkit.pretraining.table import PretrainTable
from segkit.training.callbacks import AveragedValidation, EpochSeed, KeepBest, kept_weights
from segkit.training.checkpoint import Checkpoints, Stateful, read_checkpoint
from segkit.training.directory import RunDirectory
from segkit.training.interrupt import StopRequest
from segkit.training.log import Log
from segkit.training.optimizer import backbones_of, counted
from segkit.training.progress import Bar
from segkit.training.trainer import arithmetic, deterministic, make_trainer, within_limits, without_advice


@dataclass(frozen=True)
class Fitted:
    """What training came to; the objective's model has the weights that are kept, and is in evaluation mode.

    Attributes:
        minutes: that led to them.
        metrics: the validation's figures of them; empty where there is no split for it, or training was stopped.
    """

    minutes: float
    metrics: dict[str, float]


def fit(
    objective: Objective, recipe: PretrainRecipe, run: RunDirectory, log: Log, stop: StopRequest, device: torch.device
) -> Fitted:
    """Train the objective's model, from the run's checkpoint if there is one.

    Args:
        objective: what is learnt; it is prepared.
        recipe: how.
        run: where checkpoints, tables and events go.
        log: where to say what is done.
        stop: asked for by Ctrl-C; ends training after the step in hand.
        device: where it is computed.

    Raises:
        RecipeError: training diverged before there were weights worth keeping, or fp16 without a GPU.
        DataError: an image that can't be used.
        ModelError: the checkpoint is damaged.
    """
    began, train, checkpoint = time.perf_counter(), recipe.train, run.checkpoint(recipe.objective)
    model = objective.model.to(memory_format=torch.channels_last)
    if train.gradient_checkpointing:
        for backbone in backbones_of(model):
            recompute_stages(backbone)
    steps = len(objective.epoch(0))
    updates = train.epochs * -(-steps // train.accumulate)
    precision = arithmetic(train.precision, device)
    count = counted(model, train.optimizer)
    log.say(f"{count}, {train.epochs} epochs of {steps} steps, {precision} on {_named(device)}")

    clock = AllottedTime(train.minutes, updates, log.say) if train.minutes is not None else None
    place = clock.place if clock is not None else None
    # Under fp16 gradients are scaled, and a fused optimiser's can't be clipped then.
    module = PretrainModule(
        objective, train, updates=updates, fused=precision != "fp16" or None, place=place, growth=recipe.data.grow
    )
    table = PretrainTable(run.path, log.say)
    best = KeepBest() if train.keep == "best" else None
    early = None
    if train.early_stopping:
        early = EarlyStopping("score", mode="max", patience=train.early_stopping, check_finite=False, strict=False)
    parts: dict[str, Stateful | None] = {
        "model": model,
        "average": module.average,
        "best": best,
        "table": table,
        "clock": clock,
        "early_stopping": early,
    }
    with without_advice():
        saved = read_checkpoint(checkpoint)
        done = saved.epoch if saved is not None else 0
        if saved is not None:
            log.say(f"resumed at epoch {done + 1}")
        kept = {name: part for name, part in parts.items() if part is not None}
        callbacks: list[L.Callback | None] = [
            EpochSeed(train.seed),
            best,  # before the averaged weights, which it looks at, are taken out again
            AveragedValidation(),
            table,
            Bar(recipe.name, log.console, place),
            clock,
            stop,
            early,
            Checkpoints(checkpoint, kept, saved, log.say),
        ]
        with deterministic(train.deterministic):
            trainer = make_trainer(
                train,
                [callback for callback in callbacks if callback is not None],
                device=device,
                precision=precision,
                folders=[run.path],
                epochs_done=done,
                accumulate=train.accumulate,
            )
            del saved  # the trainer's callback has it now, and lets go of it
            epochs = _Epochs(objective, module, steps)
            try:
                with within_limits(train.batch):
                    trainer.fit(module, epochs, _Once() if recipe.data.validate_on else None)
                weights = kept_weights(module, best)
                if isinstance(weights, str):
                    raise RecipeError(weights)
                model.load_state_dict(dict(weights))
                model.to(device).eval()
                metrics: dict[str, float] = {}
                if recipe.data.validate_on and not stop.requested:
                    with trainer.precision_plugin.forward_context(), torch.no_grad():
                        metrics = {name: float(value) for name, value in objective.validate().items()}
            finally:
                epochs.close()
    table.final = metrics or None
    if table.rows:
        table.write()
    return Fitted((time.perf_counter() - began + table.resumed_at) / 60, metrics)


class _Epochs:
    """What Lightning takes for a loader: each pass over it is that of the module's present epoch."""

    def __init__(self, objective: Objective, module: PretrainModule, steps: int) -> None:
        self._objective, self._module, self._steps = objective, module, steps
        self._pass: Generator[Batch, None, None] | None = None

    def __len__(self) -> int:
        return self._steps

    def __iter__(self) -> Iterator[Batch]:
        self._pass = self._batches()
        return self._pass

    def close(self) -> None:
        """Leave an epoch that was broken off, so that the processes that read for it end."""
        if self._pass is not None:
            self._pass.close()

    def _batches(self) -> Generator[Batch, None, None]:
        # As a generator: nothing happens before the first batch is asked for, when the epoch is known.
        yield from self._objective.epoch(self._module.current_epoch)


class _Once:
    """One empty batch to validate on: the objective has its own pass over what it is."""

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[Batch]:
        yield {"name": []}


def _named(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"{threads} processor thread{'s' if threads > 1 else ''}"
