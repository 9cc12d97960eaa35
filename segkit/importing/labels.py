"""What the values of label files mean, as ``dataset.json`` says it, and the masks that are made of them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segkit.data.listing import is_volume
from segkit.data.masks import IGNORE, LOSSLESS, Ids, read_values, shown_values
from segkit.data.png import png_bytes
from segkit.data.reader import PICTURES
from segkit.data.suffixes import suffix_of
from segkit.errors import DataError
from segkit.importing.layout import Placed, Put
from segkit.task import Task

MOST = 1 << 16  # values that labels are looked for among
BACKGROUND = "background"


@dataclass(frozen=True)
class Labels:
    """The classes of label files.

    Attributes:
        classes: names; of a multiclass or binary task the first is that of 0.
        values: of each class, the files' values that stand for it.
        multilabel: whether a value can stand for several classes; each has a mask of its own then.
        ignore: the files' value for what is to be ignored.
        known_by: where the values are listed, for messages.
    """

    classes: tuple[str, ...]
    values: tuple[frozenset[int], ...]
    multilabel: bool = False
    ignore: int | None = None
    known_by: str = "labels in dataset.json"

    @property
    def task(self) -> Task:
        """``multilabel``, or by the number of classes."""
        if self.multilabel:
            return "multilabel"
        return "multiclass" if len(self.classes) > 2 else "binary"

    @property
    def background(self) -> str | None:
        """The class of 0, where it is called so."""
        return next((name for name in self.classes if name.lower() == BACKGROUND and not self.multilabel), None)

    @property
    def kept(self) -> bool:
        """Whether the files' values are ids as they are, so that the files can be copied."""
        straight = all(values == {number} for number, values in enumerate(self.values))
        return not self.multilabel and straight and (self.ignore is None or self.ignore <= IGNORE)

    @property
    def ignore_index(self) -> int | None:
        """The value to ignore in what is written."""
        return None if self.ignore is None else self.ignore if self.kept else IGNORE

    @property
    def known(self) -> list[int]:
        """Every value that means something, and 0."""
        ignored = () if self.ignore is None else (self.ignore,)
        return sorted({0}.union(*self.values, ignored))

    def masks(self, values: NDArray[np.integer[Any]]) -> Iterator[Ids]:
        """The ids that are written for the values, an array of the same shape; for multilabel of 0/1, one a class."""
        tables = np.zeros((len(self.classes) if self.multilabel else 1, MOST), dtype=np.uint8)
        for number, known in enumerate(self.values):
            for value in known:
                tables[number if self.multilabel else 0, value] = 1 if self.multilabel else number
        if self.ignore is not None:
            tables[:, self.ignore] = IGNORE
        for table in tables:
            ids = np.empty(values.shape, dtype=np.uint8)
            for part in range(values.shape[-1]):  # an index takes eight bytes while it is looked up
                ids[..., part] = table[values[..., part]]
            yield ids


def labels_of(said: Mapping[str, int | list[int]], path: Path) -> tuple[Labels, tuple[str, ...]]:
    """What the labels in a ``dataset.json`` mean, and what is to be said of them.

    Args:
        said: the value, or for regions the values, of each name; ``ignore`` is no class.
        path: of the JSON, for messages.

    Raises:
        DataError: a value is out of range or stands for two classes, or there is nothing but background.
    """
    values = {name: frozenset([found] if isinstance(found, int) else found) for name, found in said.items()}
    for name, found in values.items():
        if not found or not all(0 <= value < MOST for value in found):
            raise DataError(f"{path}: labels: {name!r} is {said[name]}; expected a whole number from 0 to {MOST - 1}")
    ignored = values.pop("ignore", None)
    if ignored is not None and len(ignored) > 1:
        raise DataError(f"{path}: labels: 'ignore' is {sorted(ignored)}; expected one value")
    ignore = next(iter(ignored)) if ignored else None
    if any(len(found) > 1 for found in values.values()):
        regions = {name: found for name, found in values.items() if found != {0}}
        labels = Labels(tuple(regions), tuple(regions.values()), True, ignore)
        return labels, ("labels are regions, which may overlap: a mask for each (multilabel)",)
    by_value: dict[int, str] = {}
    for name, (value,) in values.items():
        if value in by_value:
            raise DataError(f"{path}: labels: {value} is both {by_value[value]!r} and {name!r}")
        by_value[value] = name
    if ignore in by_value:
        raise DataError(f"{path}: labels: {ignore} is both {by_value[ignore]!r} and 'ignore'")
    by_value.setdefault(0, BACKGROUND)
    if len(by_value) == 1:
        raise DataError(f"{path}: labels: nothing but {by_value[0]!r}; there is nothing to learn")
    order = sorted(by_value)
    labels = Labels(
        tuple(by_value[value] for value in order), tuple(frozenset([value]) for value in order), False, ignore
    )
    return labels, () if order == list(range(len(order))) else (
        f"label values {shown(order)} became 0..{len(order) - 1}",
    )


def by_name(said: Mapping[int, str], path: Path) -> dict[str, int | list[int]]:
    """The value of each name, where a ``dataset.json`` has the names of the values.

    Raises:
        DataError: two values have the same name.
    """
    found: dict[str, int | list[int]] = {}
    for value, name in said.items():
        if name in found:
            raise DataError(f"{path}: labels: {name!r} is there twice: {found[name]} and {value}; give them two names")
        found[name] = value
    return found


@dataclass(frozen=True)
class LabelFile:
    """A mask from a file of label values, a picture or a volume."""

    path: Path
    labels: Labels

    @property
    def files(self) -> tuple[Path, ...]:
        """The file."""
        return (self.path,)

    def place(self, folder: Path, name: str, put: Put) -> Placed:
        """Copy it where its values are ids; else write what they stand for.

        Raises:
            DataError: it can't be read, or holds values that mean nothing.
        """
        volume = None
        if suffix_of(self.path) in PICTURES and not is_volume(self.path):
            values = whole(_picture_values(self.path), self.path)
        else:
            from segkit.importing.volumes import read_labels

            volume = read_labels(self.path)
            values = whole(volume.values[..., 0], self.path)
        found = distinct(values)
        strange = sorted(set(found.tolist()) - set(self.labels.known))
        if strange:
            raise DataError(
                f"{self.path}: mask has values {shown_values(found)}; {self.labels.known_by}: "
                f"{shown(self.labels.known)}. Add what is missing there, or correct the mask."
            )
        grid = ((values.shape[0], values.shape[1]),) if volume is None else volume.geometry
        if self.labels.kept and (volume is None or len(volume.files) == 1):
            put(self.path, folder / f"{name}{suffix_of(self.path)}")
            return Placed(grid)
        for number, ids in enumerate(self.labels.masks(values)):
            stem = folder / name / self.labels.classes[number] if self.labels.multilabel else folder / name
            stem.parent.mkdir(exist_ok=True)
            if volume is None:
                write_png(stem.with_name(f"{stem.name}.png"), ids)
            else:
                from segkit.importing.volumes import write_ids

                write_ids(stem, ids, volume)
        return Placed(grid)


def whole(values: NDArray[Any], path: Path) -> NDArray[np.integer[Any]]:
    """Label values as unsigned numbers; raise DataError where they are fractions, negative or too large."""
    if values.dtype.kind == "f":
        if not (np.isfinite(values).all() and (values == np.rint(values)).all()):
            raise DataError(f"{path}: the mask holds fractions; export labels as whole numbers, without smoothing")
    elif values.dtype.kind not in "iub":
        raise DataError(f"{path}: values of type {values.dtype} are no labels")
    lowest, highest = values.min(initial=0), values.max(initial=0)
    if lowest < 0 or highest >= MOST:
        raise DataError(f"{path}: the mask holds values from {lowest:g} to {highest:g}; labels are 0..{MOST - 1}")
    return values.astype(np.uint8 if highest <= 255 else np.uint16, copy=False)


def distinct(values: NDArray[np.integer[Any]]) -> NDArray[np.intp]:
    """The values that occur, each once."""
    occurs = np.zeros(MOST, dtype=np.bool_)
    for part in range(values.shape[-1]):
        occurs[values[..., part]] = True
    return np.flatnonzero(occurs)


def shown(values: list[int]) -> str:
    """Values in braces, the middle left out of a long list."""
    return shown_values(np.asarray(values))


def write_png(path: Path, ids: Ids) -> None:
    """Write a mask [H, W] without loss."""
    path.write_bytes(png_bytes(ids, path))


def _picture_values(path: Path) -> NDArray[Any]:
    if suffix_of(path) not in LOSSLESS:
        raise DataError(f"{path}: masks are read from {', '.join(LOSSLESS)} or volumes; export it as one of them")
    return read_values(path)
