"""The three tasks, and how many maps a model puts out for each."""

from collections.abc import Sequence
from typing import Literal

Task = Literal["binary", "multilabel", "multiclass"]
"""``binary``: one sigmoid map, of the last class; ``multilabel``: one sigmoid map a class; ``multiclass``: softmax."""


def named_background(classes: Sequence[str]) -> int | None:
    """The id of the class that is called background; None where none is."""
    return next((number for number, name in enumerate(classes) if name.lower() == "background"), None)


def output_maps(task: Task, classes: int) -> int:
    """How many maps a model puts out: one for ``binary``, else one a class."""
    return 1 if task == "binary" else classes
