"""What a run tells while it goes: a table with one row an epoch, its curves, and a progress bar."""

import csv
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
from torch import Tensor

from segkit.errors import UsageError
from segkit.files import atomic_path
from segkit.training.allowance import Allowance
from segkit.training.curves import draw_curves
from segkit.training.network_module import NetworkModule


class EpochTable(L.Callback):
    """One row an epoch in ``metrics.csv`` and in the log, curves in ``curves.png``.

    Args:
        directory: for the files.
        say: told each row.
        place: the member's, where several are trained together.
    """

    def __init__(self, directory: Path, say: Callable[[str], None], place: int = 0) -> None:
        self.directory, self.say, self._place = directory, say, place
        self.rows: list[dict[str, Any]] = []
        self._diverged: str | None = None
        self.resumed_at = 0.0  # seconds that earlier processes took for the rows they left
        self._allowance = Allowance()  # of the curves

    def state_dict(self) -> dict[str, Any]:
        """The rows, for a checkpoint, and why there will be no more of them, where several are trained together."""
        return {"rows": list(self.rows), "diverged": self._diverged}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on below these rows; the file loses those of epochs that will be run again."""
        self.rows, self._diverged = list(state_dict["rows"]), state_dict["diverged"]
        if self.rows:
            self.resumed_at = float(self.rows[-1]["seconds"])
        self.write()

    def on_train_start(self, _trainer: L.Trainer, module: L.LightningModule) -> None:
        """Start the clock, or let it go on from the last row's time; what diverged before isn't trained on."""
        assert isinstance(module, NetworkModule)
        module.diverged = self._diverged
        self._began = time.perf_counter() - self.resumed_at

    def on_train_epoch_start(self, _trainer: L.Trainer, _module: L.LightningModule) -> None:
        """Begin the epoch's sums."""
        self._losses: list[Tensor] = []
        self._images, self._seconds, self._epoch_began = 0, 0.0, time.perf_counter()

    def on_train_batch_start(self, trainer: L.Trainer, *_: Any) -> None:
        """Note the rate of the step to come; after it the schedule has already moved on."""
        self._rate = trainer.optimizers[self._place].param_groups[0]["lr"]

    def on_train_batch_end(
        self, trainer: L.Trainer, _module: L.LightningModule, outputs: Any, batch: Any, _index: int
    ) -> None:
        """Add the step to the epoch's sums, without waiting for the device."""
        self._losses.append(outputs["loss"].detach() * trainer.accumulate_grad_batches)  # which Lightning divides by
        self._images += len(batch["name"])
        self._seconds = time.perf_counter() - self._epoch_began  # waiting for the loader counts, validation doesn't

    def on_train_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Write the row; validation, where there was one, is already over."""
        assert isinstance(module, NetworkModule)
        if not self._losses:  # interrupted before the epoch's first step
            return
        columns = module.columns(trainer.current_epoch)
        loss = float(torch.stack(self._losses).float().mean())
        if not math.isfinite(loss):
            self._diverged = f"the loss is {loss} in epoch {trainer.current_epoch + 1}, training diverged"
            module.diverged = self._diverged
            self.say(self._diverged)
            trainer.should_stop = True
            return
        row = {
            "epoch": trainer.current_epoch + 1,
            "updates": module.done,
            "seconds": round(time.perf_counter() - self._began, 1),
            "learning_rate": self._rate,
            "loss": round(loss, 6),
            **{name: round(value, 6) if isinstance(value, float) else value for name, value in columns.items()},
            "images_per_second": round(self._images / max(self._seconds, 1e-9), 2),
        }
        self.rows.append(row)
        self._kept(self.write)
        self.say(
            f"epoch {row['epoch']}/{trainer.max_epochs}  loss {row['loss']:.4f}{module.told(trainer.current_epoch)}"
            f"  {row['images_per_second']:.1f} images/s  {row['seconds']:.0f} s"
        )
        for logger in trainer.loggers[self._place : self._place + 1]:
            logger.log_metrics({key: row[key] for key in ("loss", "learning_rate", "images_per_second")}, row["epoch"])
            figures = {name: value for name, value in columns.items() if isinstance(value, float)}
            if figures:
                logger.log_metrics(figures, row["epoch"])
        if self._allowance.due:
            with self._allowance.spend():
                self._kept(self.draw)

    def on_train_end(self, _trainer: L.Trainer, _module: L.LightningModule) -> None:
        """Draw the curves a last time."""
        self._kept(self.draw)

    def _kept(self, write: Callable[[], None]) -> None:
        """Write what is to look at; that somebody has it open, as is felt on Windows alone, must not cost the model."""
        try:
            write()
        except UsageError as error:
            if not isinstance(error.__cause__, PermissionError):
                raise
            self.say(f"not written: {error}")

    def write(self) -> None:
        """Write the whole table anew: it has each epoch once, wherever the program is killed."""
        with atomic_path(self.directory / "metrics.csv") as path, path.open("w", newline="", encoding="utf-8") as file:
            names = dict.fromkeys(name for row in self.rows for name in row)
            writer = csv.DictWriter(file, names, restval="")
            writer.writeheader()
            writer.writerows(self.rows)

    def draw(self) -> None:
        """Write the curves of the rows so far."""
        if self.rows:
            draw_curves(self.rows, self.directory / "curves.png")


class Bar(L.Callback):
    """A progress bar with loss, score, images per second and time left; nothing where the console is not a terminal.

    Args:
        title: before the bar.
        console: where it is.
        place: where the run is, in updates, when so many are done; None: there.
    """

    def __init__(self, title: str, console: Console, place: Callable[[int], float] | None = None) -> None:
        columns: list[ProgressColumn] = [
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[now]}"),
        ]
        self._progress = Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal)
        self._title, self._place = title, place

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Show the bar."""
        assert isinstance(module, NetworkModule)
        steps = int(trainer.num_training_batches)
        total, done = steps * int(trainer.max_epochs or 1), steps * trainer.current_epoch
        self._task = self._progress.add_task(self._title, total=total, completed=done, now="")
        self._progress.start()
        self._began, self._shown, self._images = time.perf_counter(), 0.0, 0

    def on_train_batch_end(
        self, trainer: L.Trainer, module: L.LightningModule, outputs: Any, batch: Any, _index: int
    ) -> None:
        """Advance; read the loss off the device at most five times a second."""
        assert isinstance(module, NetworkModule)
        self._images += len(batch["name"])
        self._progress.advance(self._task)
        if self._place is not None:
            total = self._progress.tasks[self._task].total or 0
            self._progress.update(self._task, completed=total * self._place(module.done) / module.updates)
        now = time.perf_counter()
        if now - self._shown > 0.2 and not self._progress.disable:
            self._shown = now
            score = f"  {module.score[0]} {module.score[1]:.4f}" if module.score else ""
            loss = float(outputs["loss"]) * trainer.accumulate_grad_batches
            text = (
                f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}  loss {loss:.4f}{score}"
                f"  {self._images / (now - self._began):.1f} images/s"
            )
            self._progress.update(self._task, now=text)

    def teardown(self, _trainer: L.Trainer, _module: L.LightningModule, stage: str) -> None:  # noqa: ARG002 - Lightning's name
        """Take the bar away, also after an error."""
        self._progress.stop()
