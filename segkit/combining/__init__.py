"""How the members' probabilities become one map: a class for each way, under the name that files know it by."""

from typing import Any

from segkit.combining.combination import Combination, Mean, Said
from segkit.combining.gate import Gate
from segkit.combining.logit_mean import LogitMean
from segkit.combining.stack import Stack
from segkit.errors import UsageError
from segkit.nearest import nearest
from segkit.task import Task

__all__ = ["Combination", "Gate", "LogitMean", "Mean", "Said", "Stack", "create"]

COMBINATIONS: dict[str, type[Combination]] = {kind.name: kind for kind in (Mean, LogitMean, Gate, Stack)}


def create(name: str, *, members: int, maps: int, task: Task, **options: Any) -> Combination:
    """The combination of a name: mean, logit_mean, gate or stack.

    Raises:
        UsageError: an unknown name or option.
    """
    if name not in COMBINATIONS:
        raise UsageError(f"no way to combine called {name!r}{nearest(name, COMBINATIONS)}")
    try:
        return COMBINATIONS[name](members, maps, task, **options)
    except TypeError as error:
        raise UsageError(f"{name}: {error}") from None
