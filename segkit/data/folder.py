"""A dataset opened from a folder: its classes, its splits, and where each picture's files are."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from segkit.data.coding import Coding, find_coding
from segkit.data.description import Colour, Description, read_description
from segkit.data.listing import by_stem, entries
from segkit.data.masks import IGNORE, LOSSLESS, Ids, apply_table, read_colours, read_values
from segkit.data.reader import PICTURES, TURNS, orientation_of
from segkit.data.splits import draw_splits, overlaps
from segkit.errors import DataError, UsageError
from segkit.nearest import nearest
from segkit.task import Task

Whole = TypeVar("Whole", bound=np.integer)


@dataclass(frozen=True)
class Sample:
    """The files of one picture."""

    name: str
    image: Path
    mask: Path | None = None
    """A file; for multilabel a folder with one file for each class."""
    depth: Path | None = None
    roi: Path | None = None


@dataclass(frozen=True)
class DatasetFolder:
    """What ``open_dataset`` found: the description with every default decided, and the files."""

    path: Path
    name: str
    task: Task
    classes: tuple[str, ...]
    background: int | None
    ignore_index: int | None
    splits: dict[str, tuple[str, ...]]
    palette: dict[str, Colour] | None
    depth_unit: str | None
    roi: str | None
    """Name of the folder with the regions of interest."""
    groups: dict[str, tuple[str, ...]]
    """Stems that belong together, by the group's name; empty where none are given."""
    notes: tuple[str, ...]
    """What was decided without being told, to be said aloud."""
    files: dict[str, Sample] = field(repr=False)
    coding: Coding = field(repr=False)

    def samples(self, *splits: str) -> list[Sample]:
        """Return the samples of one or several splits, in the order listed, each once.

        Raises:
            UsageError: an unknown split.
            DataError: an empty split; a stem without image, mask or region of interest.
        """
        stems: dict[str, None] = {}
        for split in splits:
            if split not in self.splits:
                raise UsageError(f"{self.path}: no split {split!r}{nearest(split, self.splits)}")
            if not self.splits[split]:
                raise DataError(f"{self.path}: split {split!r} is empty")
            self._check_files(split)
            stems.update(dict.fromkeys(self.splits[split]))
        return [self.files[stem] for stem in stems]

    def read_mask(self, sample: Sample, size: tuple[int, int] | None = None, *, inside_roi: bool = True) -> Ids:
        """Return class ids uint8 [H, W], 255 = ignore; for multilabel 0, 1 or 255, [K, H, W].

        Args:
            sample: one of ``samples``.
            size: the picture's (height, width), if known; the mask must have it. A mask drawn on the stored pixels
                of a picture that its EXIF tag turns by 90° is turned with it.

            inside_roi: ignore what lies outside the region of interest; False reads the mask as it is drawn.

        Raises:
            DataError: the mask is missing, unreadable, of another size or holds values that are no class.
        """
        if sample.mask is None:
            raise DataError(f"{self.path}: {sample.name} has no mask")
        if self.task == "multilabel":
            ids = self._read_labels(sample.mask)
        elif self.palette:
            ids = read_colours(sample.mask, self.palette, self.classes)
        else:
            ids = apply_table(read_values(sample.mask), self.coding.table, sample.mask, len(self.classes))
        if size is not None and ids.shape[-2:] != size:
            ids = fit(ids, size, sample.mask, sample.image)
        if sample.roi is not None and inside_roi:
            inside = read_values(sample.roi) > 0
            if inside.shape != ids.shape[-2:]:
                inside = fit(inside.astype(np.uint8), ids.shape[-2:], sample.roi, sample.image) > 0
            ids = np.where(inside, ids, np.uint8(IGNORE))
        return ids

    def _read_labels(self, folder: Path) -> Ids:
        """Multilabel masks [K, H, W], one file for each class in the sample's folder."""
        files = by_stem(folder, LOSSLESS)
        layers = []
        for name in self.classes:
            file = files.get(name, folder / f"{name}.png")
            if name not in files:
                raise DataError(f"{file}: no such file{nearest(name, files)}; write an empty mask where it is absent")
            layers.append(apply_table(read_values(file), self.coding.table, file, 2))
            if layers[-1].shape != layers[0].shape:
                raise DataError(f"{file}: mask is {_size(layers[-1])}, that of {self.classes[0]!r} {_size(layers[0])}")
        return np.stack(layers)

    def _check_files(self, split: str) -> None:
        stems = self.splits[split]
        _refuse(
            [stem for stem in stems if stem not in self.files],
            f"{self.path}: split {split!r} lists {{}} without a picture in images/",
        )
        _refuse(
            [stem for stem in stems if self.files[stem].mask is None],
            f"{self.path}: split {split!r} lists {{}} without a mask in masks/",
        )
        if self.roi is not None:
            _refuse(
                [stem for stem in stems if self.files[stem].roi is None],
                f"{self.path}: split {split!r} lists {{}} without a region of interest in {self.roi}/",
            )


def open_dataset(path: str | Path) -> DatasetFolder:
    """Return the dataset in a folder with ``images/``, ``masks/`` and, if it is there, ``dataset.yaml``.

    Without ``dataset.yaml`` the classes come from the masks' values. Without splits, 70/15/15 % of the pictures are
    drawn by a hash of their names (or of their groups' names). What is decided so is said in ``notes``.

    Raises:
        DataError: naming the file, the key or the value, what was expected and what to do.
    """
    path = Path(path)
    if not path.is_dir():
        raise DataError(f"{path}: {'a file; a dataset is a folder' if path.exists() else 'no such folder'}")
    yaml = path / "dataset.yaml"
    description = read_description(yaml) if yaml.is_file() else Description()
    notes = [] if yaml.is_file() else [f"{path} has no dataset.yaml: classes and splits are worked out"]

    files = find_files(path, description)
    if not any(sample.mask for sample in files.values()):
        raise DataError(f"{path / 'masks'}: no mask has the name of a picture in images/")
    splits: dict[str, tuple[str, ...]] = dict(description.splits)
    if not splits:
        _check_pairs(path, files)
        splits = draw_splits(files, description.groups)
        counts = ", ".join(f"{split} {len(stems)}" for split, stems in splits.items())
        by = "groups" if description.groups else "names"
        notes.append(f"no splits are given: drawn by a hash of the {by} ({counts})")
    for shared in overlaps(splits, description.groups):
        for what, names in (("pictures", shared.stems), ("groups", shared.groups)):
            if names:
                between = f"{shared.first!r} and {shared.second!r}"
                notes.append(f"{what} in both {between}: {len(names)}, for example {names[0]}")

    masks = [sample.mask for sample in files.values() if sample.mask is not None]
    coding = find_coding(masks, description)
    classes, task = coding.classes, description.task or ("multiclass" if len(coding.classes) > 2 else "binary")
    return DatasetFolder(
        path=path,
        name=description.name or path.resolve().name,
        task=task,
        classes=classes,
        background=_background(description.background, task, classes),
        ignore_index=description.ignore_index,
        splits=splits,
        palette=dict(description.palette) or None,
        depth_unit=description.depth_unit,
        roi=description.roi,
        groups=dict(description.groups),
        notes=(*notes, *coding.notes),
        files=files,
        coding=coding,
    )


def find_files(
    path: Path, description: Description, listed: Callable[[Path, Sequence[str]], dict[str, Path]] = by_stem
) -> dict[str, Sample]:
    """Return every picture in ``images/`` by stem, with the files of the same stem in the other folders.

    Args:
        path: the dataset's folder.
        description: says what the masks are, and where the regions of interest.
        listed: gives the files with certain suffixes in a folder, by stem.
    """
    images = listed(path / "images", PICTURES)
    if description.task == "multilabel":
        masks = {entry.name: entry for entry in entries(path / "masks") if entry.is_dir()}
    else:
        masks = listed(path / "masks", LOSSLESS)
    depth = listed(path / "depth", LOSSLESS) if (path / "depth").is_dir() else {}
    roi = {}
    if description.roi:
        if not (path / description.roi).is_dir():
            raise DataError(f"{path / description.roi}: no such folder, but 'roi:' in dataset.yaml names it")
        roi = listed(path / description.roi, LOSSLESS)
    return {
        stem: Sample(stem, image, masks.get(stem), depth.get(stem), roi.get(stem)) for stem, image in images.items()
    }


def _check_pairs(path: Path, files: Mapping[str, Sample]) -> None:
    _refuse([stem for stem, sample in files.items() if sample.mask is None], f"{path}: images/ has {{}} without a mask")


def _background(given: str | int | None, task: Task, classes: tuple[str, ...]) -> int | None:
    if isinstance(given, str):
        return classes.index(given)
    if given is not None:
        return given
    if task == "binary":
        return 0
    return 0 if task == "multiclass" and classes[0].lower() == "background" else None


def fit(ids: NDArray[Whole], size: tuple[int, int], file: Path, image: Path) -> NDArray[Whole]:
    """Return the mask turned as its picture is by its EXIF tag, where that makes the sizes agree; else DataError."""
    if ids.shape[-2:] == size[::-1]:
        orientation = orientation_of(image)
        if orientation >= 5:
            turned = np.stack([TURNS[orientation](layer) for layer in ids.reshape(-1, *ids.shape[-2:])])
            return np.ascontiguousarray(turned.reshape(*ids.shape[:-2], *size), dtype=ids.dtype)
    raise DataError(f"{file}: mask is {_size(ids)}, its picture {size[1]}×{size[0]} (width × height)")


def _size(ids: NDArray[np.generic]) -> str:
    return f"{ids.shape[-1]}×{ids.shape[-2]}"


def _refuse(stems: Sequence[str], message: str) -> None:
    if stems:
        more = f" and {len(stems) - 3} more" if len(stems) > 3 else ""
        raise DataError(message.format(", ".join(stems[:3]) + more))
