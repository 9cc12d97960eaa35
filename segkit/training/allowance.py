"""How often something may be done beside training without slowing it down."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

PAUSE = 30.0  # seconds until anything is granted; a shorter run does it in the end or not at all
SHARE = 0.005  # of the time, for each thing that is rationed


class Allowance:
    """Grants a task after ``PAUSE``, and then as often as it takes at most ``SHARE`` of the time."""

    def __init__(self) -> None:
        self._next = time.perf_counter() + PAUSE

    @property
    def due(self) -> bool:
        """Whether enough time has gone by since the last time."""
        return time.perf_counter() >= self._next

    @contextmanager
    def spend(self) -> Iterator[None]:
        """Do the task in this block; the longer it takes, the later the next."""
        began = time.perf_counter()
        try:
            yield
        finally:
            now = time.perf_counter()
            self._next = now + (now - began) / SHARE
