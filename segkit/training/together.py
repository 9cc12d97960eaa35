"""Several members in one pass over the data: each batch is given to all of them, one after the other."""

from collections.abc import Sequence
from typing import Any

import lightning as L
import torch
from torch import Tensor, nn

from segkit.training.callbacks import epoch_seed
from segkit.training.module import TrainingModule


class Stream:
    """Random numbers of a member's own, in the place of PyTorch's while the member is at work."""

    def __init__(self) -> None:
        self._states: tuple[Tensor, list[Tensor]] | None = None

    def seed(self, seed: int, epoch: int) -> None:
        """Begin those of an epoch, as :class:`segkit.training.callbacks.EpochSeed` does for a member alone."""
        with torch.random.fork_rng(range(torch.cuda.device_count())):
            torch.manual_seed(epoch_seed(seed, epoch))
            self._states = _states()

    def __enter__(self) -> None:
        self._others = _states()
        assert self._states is not None
        _restore(self._states)

    def __exit__(self, *_: object) -> None:
        self._states = _states()
        _restore(self._others)


class Together(L.LightningModule):
    """Train several modules on the same batches, each with its own optimiser, schedule, average and random numbers.

    What each becomes is what it would become alone on the same batches.

    Args:
        modules: in order.
        seeds: of each one's random numbers.
        accumulate: steps whose gradients are summed into one update.
    """

    def __init__(self, modules: Sequence[TrainingModule], seeds: Sequence[int], accumulate: int) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.parts = nn.ModuleList(modules)
        self.seeds, self.accumulate = tuple(seeds), accumulate
        self.streams = [Stream() for _ in modules]

    @property
    def modules_in_order(self) -> list[TrainingModule]:
        """The modules."""
        return [part for part in self.parts if isinstance(part, TrainingModule)]

    def configure_optimizers(self) -> Any:
        """Each one's own."""
        return [part.configure_optimizers() for part in self.modules_in_order]

    def on_fit_start(self) -> None:
        """Let each know the trainer."""
        for part in self.modules_in_order:
            part.trainer = self.trainer

    def on_train_epoch_start(self) -> None:
        """Begin each one's random numbers of the epoch."""
        for stream, seed in zip(self.streams, self.seeds, strict=True):
            stream.seed(seed, self.current_epoch)

    def training_step(self, batch: dict[str, Any], index: int) -> dict[str, Any]:
        """One step of each; ``losses`` are theirs."""
        optimizers, schedules = _listed(self.optimizers()), _listed(self.lr_schedulers())
        updates = (index + 1) % self.accumulate == 0 or self.trainer.is_last_batch
        losses: list[Tensor] = []
        loss_of_none = torch.zeros((), device=self.device)
        for part, stream, optimizer, schedule in zip(
            self.modules_in_order, self.streams, optimizers, schedules, strict=True
        ):
            if part.diverged is not None:  # the others go on without it
                losses.append(loss_of_none)
                continue
            with stream:
                loss = part.training_step(batch, index)
                self.manual_backward(loss / self.accumulate)
            losses.append(loss.detach())
            if updates:
                part.configure_gradient_clipping()
                optimizer.step()
                optimizer.zero_grad()
                schedule.step()
                part.updated()
        return {"losses": losses}

    def on_after_batch_transfer(self, batch: dict[str, Any], index: int) -> dict[str, Any]:
        """As each of them does."""
        return self.modules_in_order[0].on_after_batch_transfer(batch, index)

    def on_validation_epoch_start(self) -> None:
        """Begin each one's count."""
        for part in self.modules_in_order:
            part.on_validation_epoch_start()

    def validation_step(self, batch: dict[str, Any], index: int) -> None:
        """Count one whole picture for each."""
        for part in self.modules_in_order:
            part.validation_step(batch, index)

    def on_validation_epoch_end(self) -> None:
        """Read each one's score off."""
        for part in self.modules_in_order:
            part.read_score()


class Each(L.Callback):
    """A member's callbacks, told of its module in the place of the whole, and of its own loss.

    Args:
        place: the member's, among the modules.
        callbacks: in order.
    """

    def __init__(self, place: int, callbacks: Sequence[L.Callback]) -> None:
        self._place, self._callbacks = place, callbacks

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Pass on."""
        self._tell("on_train_start", trainer, module)

    def on_train_epoch_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Pass on."""
        self._tell("on_train_epoch_start", trainer, module)

    def on_train_batch_start(self, trainer: L.Trainer, module: L.LightningModule, batch: Any, batch_idx: int) -> None:
        """Pass on."""
        self._tell("on_train_batch_start", trainer, module, batch, batch_idx)

    def on_train_batch_end(
        self, trainer: L.Trainer, module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Pass on, with the member's own loss."""
        self._tell("on_train_batch_end", trainer, module, {"loss": outputs["losses"][self._place]}, batch, batch_idx)

    def on_train_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Pass on."""
        self._tell("on_train_epoch_end", trainer, module)

    def on_validation_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Pass on."""
        self._tell("on_validation_start", trainer, module)

    def on_validation_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Pass on."""
        self._tell("on_validation_end", trainer, module)

    def on_train_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Pass on."""
        self._tell("on_train_end", trainer, module)

    def teardown(self, trainer: L.Trainer, module: L.LightningModule, stage: str) -> None:
        """Pass on."""
        self._tell("teardown", trainer, module, stage)

    def _tell(self, hook: str, trainer: L.Trainer, module: L.LightningModule, *further: Any) -> None:
        assert isinstance(module, Together)
        part = module.modules_in_order[self._place]
        if part.diverged is not None and hook.startswith("on_train_") and hook != "on_train_end":
            return
        before = trainer.should_stop
        for callback in self._callbacks:
            getattr(callback, hook)(trainer, part, *further)
        if part.diverged is not None and hook == "on_train_epoch_end":  # which asks the trainer to stop for everyone
            trainer.should_stop = before or all(each.diverged for each in module.modules_in_order)


def _listed(given: Any) -> list[Any]:
    """Lightning gives one of them alone, several as a list."""
    return given if isinstance(given, list) else [given]


def _states() -> tuple[Tensor, list[Tensor]]:
    return torch.get_rng_state(), torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []


def _restore(states: tuple[Tensor, list[Tensor]]) -> None:
    torch.set_rng_state(states[0])
    if states[1]:
        torch.cuda.set_rng_state_all(states[1])
