"""Checkpoints of a member in training: all that its next epoch depends on, in one file that is whole or absent."""

import pickle
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import lightning as L
import torch
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.utilities.types import LRSchedulerConfig

from segkit.errors import ModelError, SegkitError
from segkit.files import atomic_path
from segkit.one_line import one_line
from segkit.training.allowance import Allowance
from segkit.training.network_module import NetworkModule

FORMAT = 1
AGAIN = "remove it, and --resume begins this member again from its first epoch"


class Stateful(Protocol):
    """A part of training that can be put back as it was."""

    def state_dict(self) -> Mapping[str, Any]:
        """What the part depends on: tensors, numbers, strings, and lists and dicts of them."""
        ...

    def load_state_dict(self, state: Any, /) -> Any:
        """Take it back."""
        ...


@dataclass(frozen=True)
class Saved:
    """A checkpoint as it was read: epochs and updates done, and the state of each part by name."""

    path: Path
    epoch: int
    updates: int
    parts: dict[str, Any]


class Checkpoints(Checkpoint):
    """Put a saved checkpoint back before training, and write new ones at the ends of epochs.

    An epoch depends on nothing but the parts, the recipe, the data and its own number: crops are drawn from (seed,
    epoch, index), other random numbers from (seed, epoch). So a run that goes on from the end of any epoch ends as if
    it had never stopped.

    They are written at the ends of epochs, but only as often as that takes a small share of the time (half a gigabyte
    for Swin-tiny, with its averages and the optimiser's), and not once training is over or asked to stop. Lightning
    calls this class of callbacks last, when the others are done with the epoch. Its own checkpoints are loaded as
    pickles, and its loops go on from them with hooks skipped or repeated.

    Args:
        path: the file.
        parts: what is kept beside optimiser, schedule and loss scaling.
        saved: what to go on from; None begins at the beginning.
        say: told where a checkpoint can't be written, which is no reason to end training.
    """

    def __init__(
        self, path: Path, parts: Mapping[str, Stateful], saved: Saved | None, say: Callable[[str], None]
    ) -> None:
        self._path, self._parts, self._saved, self._say = path, parts, saved, say
        self._allowance = Allowance()

    def on_fit_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Put everything back: the model is on its device by now, and the optimiser is there.

        Raises:
            ModelError: the checkpoint is of another model.
        """
        saved, self._saved = self._saved, None  # its memory is free afterwards
        if saved is None:
            return
        parts = self._all_parts(trainer)
        try:
            for name, part in parts.items():
                if name != "scaling" or saved.parts[name]:  # empty where it began in another arithmetic
                    part.load_state_dict(saved.parts[name])
        except (KeyError, ValueError, RuntimeError) as error:
            raise ModelError(f"{saved.path}: doesn't fit this model ({_reason(error)}); {AGAIN}") from error
        # Lightning has no other way to be told where it is.
        trainer.fit_loop.epoch_progress.current.increment_by(saved.epoch)
        loop = trainer.fit_loop.epoch_loop
        if module.automatic_optimization:
            loop.automatic_optimization.optim_progress.optimizer.step.total.completed = saved.updates
        else:
            loop.manual_optimization.optim_step_progress.total.completed = saved.updates

    def on_train_epoch_end(self, trainer: L.Trainer, _module: L.LightningModule) -> None:
        """Write the checkpoint, if it is time."""
        epoch = trainer.current_epoch + 1
        if trainer.should_stop or epoch == trainer.max_epochs or not self._allowance.due:
            return
        with self._allowance.spend():
            parts = {name: part.state_dict() for name, part in self._all_parts(trainer).items()}
            try:
                write_checkpoint(Saved(self._path, epoch, trainer.global_step, parts))
            except (OSError, RuntimeError, SegkitError) as error:  # torch's writer makes a RuntimeError of a full disk
                self._say(f"checkpoint not written: {_reason(error)}")

    def _all_parts(self, trainer: L.Trainer) -> dict[str, Stateful]:
        schedules: list[LRSchedulerConfig] = trainer.lr_scheduler_configs
        return {
            **self._parts,
            **{f"optimiser {place}": optimizer for place, optimizer in enumerate(trainer.optimizers)},
            **{f"schedule {place}": schedule.scheduler for place, schedule in enumerate(schedules)},
            **{f"updates {place}": _Updates(part) for place, part in enumerate(_networks(trainer.lightning_module))},
            "scaling": trainer.precision_plugin,
        }


class _Updates:
    """How often a network's weights changed; of several that learn together one may have stopped before the others."""

    def __init__(self, module: NetworkModule) -> None:
        self._module = module

    def state_dict(self) -> dict[str, int]:
        return {"done": self._module.done}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        self._module.done = state["done"]


def _networks(module: L.LightningModule) -> list[NetworkModule]:
    return [part for part in module.modules() if isinstance(part, NetworkModule)]


def write_checkpoint(saved: Saved) -> None:
    """Write a checkpoint to its path; a killed process leaves the one before."""
    with atomic_path(saved.path) as temporary:
        torch.save({"format": FORMAT, "epoch": saved.epoch, "updates": saved.updates, "parts": saved.parts}, temporary)


def read_checkpoint(path: Path) -> Saved | None:
    """The checkpoint at ``path``, with its tensors on the CPU; None where there is no file. Nothing in it is executed.

    Raises:
        ModelError: it is damaged.
    """
    if not path.exists():
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()  # torch itself doesn't look at the checksums
        if damaged is not None:
            raise zipfile.BadZipFile(f"wrong checksum of {damaged}")
        content = torch.load(path, map_location="cpu", weights_only=True)
        if content["format"] != FORMAT:
            raise ValueError(f"format {content['format']!r}, this segkit reads {FORMAT}")
        return Saved(path, content["epoch"], content["updates"], content["parts"])
    except (zipfile.BadZipFile, zlib.error, pickle.UnpicklingError, EOFError, OSError, RuntimeError) as error:
        reason = _reason(error)
    except (KeyError, TypeError, ValueError) as error:  # whole, but not ours
        reason = _reason(error)
    raise ModelError(f"{path}: this checkpoint can't be read ({reason}); {AGAIN}")


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {one_line(error)}"
