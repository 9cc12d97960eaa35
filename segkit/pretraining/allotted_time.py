"""A run that ends when its time is up: its clock, and where the schedule is by it."""

import time
from collections.abc import Callable
from typing import Any

import lightning as L


class AllottedTime(L.Callback):
    """Ends training after so many minutes, after the step in hand, with a last validation.

    The clock runs from the first step, validations included. A resumed run's goes on from its checkpoint's: what a
    killed process did after that is done again, and doesn't count.

    Args:
        minutes: for the whole run.
        updates: of the optimiser in all epochs; the run ends with whichever comes first.
        say: told when the time is up.
    """

    def __init__(self, minutes: float, updates: int, say: Callable[[str], None] = lambda _: None) -> None:
        self._limit, self._updates, self._say = 60 * minutes, updates, say
        self._earlier = 0.0  # seconds
        self._began: float | None = None

    @property
    def spent(self) -> float:
        """Seconds of training so far, those of earlier processes included."""
        return self._earlier + (time.perf_counter() - self._began if self._began is not None else 0.0)

    def place(self, updates: int) -> float:
        """Where the run is, in updates, when so many are done: further on where the share of the time is larger."""
        return max(float(updates), self._updates * min(1.0, self.spent / self._limit))

    def on_train_start(self, _trainer: L.Trainer, _module: L.LightningModule) -> None:
        """Start the clock, or let it go on."""
        self._began = time.perf_counter()

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        """End the run when its time is up."""
        if self.spent >= self._limit and not trainer.should_stop:
            self._say(f"train.minutes={self._limit / 60:g}: the time is up, in epoch {trainer.current_epoch + 1}")
            trainer.should_stop = True
            trainer.check_val_every_n_epoch = 1  # so that the last weights are validated, whichever epoch this is

    def state_dict(self) -> dict[str, Any]:
        """The seconds spent, for a checkpoint."""
        return {"seconds": self.spent}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from them."""
        self._earlier = float(state_dict["seconds"])
