"""Ctrl-C and SIGTERM as a request to stop well: finish the step in hand, save the model."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import lightning as L


class StopRequest(L.Callback):
    """The first Ctrl-C ends training after the step in hand; the second ends the program at once.

    SIGTERM, with which clusters announce that the time is up, is a first Ctrl-C however often it comes.

    One for a whole run: it is a callback of every member's trainer, and between members it remembers.

    Args:
        say: told what the request does.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self.requested = False
        self._say = say
        self._listening = False
        self._trainer: L.Trainer | None = None

    def on_train_start(self, trainer: L.Trainer, _module: L.LightningModule) -> None:
        """Know whom to stop; stop at once where it was asked for before the first step."""
        self._trainer = trainer
        if self._listening:
            signal.signal(signal.SIGTERM, self._request)  # Lightning has put its own there, which raises
        if self.requested:
            self._stop()

    def on_train_end(self, _trainer: L.Trainer, _module: L.LightningModule) -> None:
        """There is nothing to stop any more."""
        self._trainer = None

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Answer the signals for the time of the block; without effect outside the main thread, where none can be had.

        Raises:
            KeyboardInterrupt: at the second Ctrl-C.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        aborted = False

        def first(number: int, frame: FrameType | None) -> None:
            signal.signal(signal.SIGINT, second)
            self._request(number, frame)

        def second(_number: int, _frame: FrameType | None) -> None:
            nonlocal aborted
            aborted = True
            raise KeyboardInterrupt

        before = signal.signal(signal.SIGINT, first), signal.signal(signal.SIGTERM, self._request)
        self._listening = True
        try:
            yield
        except SystemExit:
            if aborted:  # Lightning turns an interrupt into an exit
                raise KeyboardInterrupt from None
            raise
        finally:
            self._listening = False
            signal.signal(signal.SIGINT, before[0])
            signal.signal(signal.SIGTERM, before[1])

    def _request(self, number: int, _frame: FrameType | None) -> None:
        again = "; Ctrl-C again to end at once" if number == signal.SIGINT else ""
        if not self.requested:
            self._say(f"stopping after this step and saving the model{again}")
        self.requested = True
        self._stop()

    def _stop(self) -> None:
        if self._trainer is not None:
            self._trainer.should_stop = True
            self._trainer.limit_val_batches = 0  # no validation on the way out: it could take minutes
