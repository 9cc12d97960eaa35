"""Only a training that came to its end counts: one that was stopped would be scored as what it isn't."""

from pathlib import Path
from typing import Protocol, TypeVar


class Ended(Protocol):
    """What a training, a pretraining or a distillation returns."""

    @property
    def directory(self) -> Path: ...

    @property
    def interrupted(self) -> bool: ...


R = TypeVar("R", bound=Ended)


def whole(run: R) -> R:
    """The run; ends the benchmark where it was stopped."""
    if run.interrupted:
        raise SystemExit(f"{run.directory}: stopped early; the same command goes on")
    return run
