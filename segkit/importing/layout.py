"""What was found in a dataset of another layout: its classes, its splits, and where each case's files are."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, get_args

from segkit.data.description import Colour
from segkit.importing.grids import Grid
from segkit.task import Task

Kind = Literal["nnunet", "decathlon", "coco", "voc"]
"""A layout that is read."""
KINDS: tuple[Kind, ...] = get_args(Kind)

Put = Callable[[Path, Path], None]
"""Copies a file, or links to it: ``put(source, target)``."""


@dataclass(frozen=True)
class Placed:
    """A mask that was written.

    Attributes:
        grid: its pixels or voxels.
        remark: what to say of it, in words that are the same for all masks of which it is true.
    """

    grid: Grid
    remark: str | None = None


class Mask(Protocol):
    """Where a case's mask comes from, and how it is written."""

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that it is read from."""
        ...

    def place(self, folder: Path, name: str, put: Put) -> Placed:
        """Write it into a dataset's ``masks/``; raise DataError where it can't be used."""
        ...


@dataclass(frozen=True)
class Case:
    """A picture or volume with its mask.

    Attributes:
        name: its files' stem in the dataset.
        image: its file, or one for each channel.
        mask: its mask.
    """

    name: str
    image: tuple[Path, ...]
    mask: Mask


@dataclass(frozen=True)
class Group:
    """Something that is true of some files or cases: what it is, and their names."""

    what: str
    names: tuple[str, ...]


@dataclass(frozen=True)
class Layout:
    """A dataset in another layout, as it will be written.

    Attributes:
        kind: of the layout.
        name: the dataset's.
        task: what is to be learnt.
        classes: names, in the order of their ids.
        cases: those with masks.
        background: the class that is background, if any is.
        ignore_index: the written masks' value for pixels to ignore.
        palette: colours of colour-coded masks.
        splits: names of the cases of each split; empty where the source has none.
        notes: what was decided.
        left_out: what was found and not taken, and why.
    """

    kind: Kind
    name: str
    task: Task
    classes: tuple[str, ...]
    cases: tuple[Case, ...]
    background: str | None = None
    ignore_index: int | None = None
    palette: dict[str, Colour] | None = None
    splits: dict[str, tuple[str, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    left_out: tuple[Group, ...] = ()
