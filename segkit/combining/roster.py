"""What an ensemble keeps of each member beside the model: a name, a temperature, a place in how they are combined."""

import math
import re
from collections.abc import Sequence

from torch import Tensor

from segkit.combining.combination import Combination, Mean
from segkit.errors import UsageError
from segkit.task import Task

NAME = r"[A-Za-z0-9][A-Za-z0-9_-]*"


def member_names(names: Sequence[str] | None, count: int) -> tuple[str, ...]:
    """Names of ``count`` members, by default ``member_0`` and so on; each its own, and fit to name a file.

    Raises:
        UsageError: no members, or names that aren't so.
    """
    if not count:
        raise UsageError("an ensemble needs at least one member")
    names = tuple(names) if names is not None else tuple(f"member_{i}" for i in range(count))
    if len(names) != count or len(set(names)) < count:
        raise UsageError(f"names {list(names)} for {count} members; give each its own")
    for name in names:
        if not re.fullmatch(NAME, name):
            raise UsageError(f"member name {name!r}: expected letters, digits, '-' and '_'; it also names a file")
    return names


def member_temperatures(
    temperatures: Sequence[float] | None, count: int, temperature: float
) -> tuple[tuple[float, ...], float]:
    """Temperatures of ``count`` members, by default 1, and that of the whole.

    Raises:
        UsageError: another number of them, or one that isn't a number above 0.
    """
    each, whole = tuple(float(one) for one in temperatures or (1.0,) * count), float(temperature)
    if len(each) != count:
        raise UsageError(f"{len(each)} temperatures for {count} members; give each its own")
    for one in (*each, whole):
        if not 0 < one < math.inf:
            raise UsageError(f"temperature {one:g}: expected a number above 0")
    return each, whole


def combination_of(
    combination: Combination | None,
    weights: Tensor | Sequence[float] | Sequence[Sequence[float]] | None,
    members: int,
    maps: int,
    task: Task,
) -> Combination:
    """The combination that is given, or else the mean with these weights.

    Raises:
        UsageError: both are given, or a combination of something else.
    """
    if combination is None:
        return Mean(members, maps, task, weights=weights)
    if weights is not None:
        raise UsageError("weights and combination: give one of them; weights are those of the mean")
    if (combination.members, combination.maps, combination.task) != (members, maps, task):
        raise UsageError(
            f"the combination is of {combination.members} {combination.task} members with {combination.maps} maps; "
            f"here are {members} {task} members with {maps}"
        )
    return combination
