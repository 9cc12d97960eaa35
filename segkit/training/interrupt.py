"""Ctrl-C as a request to stop well: finish the step, save the model."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import lightning as L


class StopRequest:
    """Set by the first Ctrl-C: the step in hand is finished and the model saved. The second Ctrl-C ends at once."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.requested = False
        self._say = say

    @contextmanager
    def listening(self, trainer: L.Trainer) -> Iterator[None]:
        """Turn the first SIGINT into ``trainer.should_stop`` for the time of the block."""
        if threading.current_thread() is not threading.main_thread():
            yield  # only the main thread may set handlers
            return

        def stop(_number: int, _frame: FrameType | None) -> None:
            self.requested = trainer.should_stop = True
            signal.signal(signal.SIGINT, before)
            self._say("stopping after this step and saving the model; Ctrl-C again to end at once")

        before = signal.signal(signal.SIGINT, stop)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)
