"""Labelled JPEGs in NumPy archives: ``jpeg``, ``offset``, ``label``, perhaps ``name``; or ``train_jpeg`` and so on."""

import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segkit.errors import DataError
from segkit.labelled.images import SPLITS, LabelledImages
from segkit.labelled.naming import class_name
from segkit.labelled.sources import Jpegs
from segkit.labelled.splits import unlearned
from segkit.one_line import one_line

LIMIT = 8 << 30
"""Bytes that an archive may unpack to."""
CLASSES = 1 << 16
"""An archive has at most; ImageNet's largest list has 21,841."""
CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
MEMBERS = "jpeg (bytes of all files end to end), offset [N + 1] and label [N]"


@dataclass(frozen=True)
class Part:
    """The images of one split.

    Attributes:
        jpeg: all files end to end.
        offset: where each begins, and the last ends, [N + 1].
        label: ids of the classes, [N].
        name: ``class/number`` of each, or None.
    """

    jpeg: NDArray[np.uint8]
    offset: NDArray[np.int64]
    label: NDArray[np.int64]
    name: list[str] | None


def archives_in(folder: Path) -> dict[str, Path]:
    """The archives of a folder by split: ``*_train_*.npz``, ``*_val_*.npz`` and ``*_test_*.npz``.

    Raises:
        DataError: two of one split.
    """
    found: dict[str, Path] = {}
    for split in SPLITS:
        matching = sorted(file for file in folder.glob(f"*_{split}_*.npz") if not file.name.startswith("."))
        if len(matching) > 1:
            raise DataError(f"{folder}: {matching[0].name} and {matching[1].name} are both {split}; keep one of them")
        if matching:
            found[split] = matching[0]
    return found


def open_archives(path: Path) -> LabelledImages:
    """Return the images of an archive, or of a folder's archives of train, val and test.

    Classes are named by the images' names, ``class/number``; else CIFAR-10's where the file is called so and there are
    ten; else by their numbers.

    Raises:
        DataError: an archive can't be read, lacks a member, or its members don't fit one another.
    """
    parts: dict[str, Part] = {}
    if path.is_dir():
        called: dict[Path, str] = {}  # each file once, though its name may have two splits in it
        for split, file in archives_in(path).items():
            called.setdefault(file, split)
        for file, split in called.items():
            own = _parts(file, split)
            if twice := sorted(parts.keys() & own.keys()):
                raise DataError(f"{file}: has images of {twice[0]}, as another archive there has; keep one of them")
            parts |= own
    else:
        split = next((split for split in SPLITS if f"_{split}_" in path.name), "train")
        parts = _parts(path, split)
    names = [name for split, part in parts.items() for name in _names(split, part)]
    if len(set(names)) < len(names):
        raise DataError(f"{path}: two images have one name")
    ends = np.cumsum([0, *(len(part.jpeg) for part in parts.values())])
    offset = np.concatenate(
        [*(part.offset[:-1] + end for part, end in zip(parts.values(), ends[:-1], strict=True)), ends[-1:]]
    )
    labels = np.concatenate([part.label for part in parts.values()])
    begins = np.cumsum([0, *(len(part.label) for part in parts.values())])
    splits = {
        split: np.arange(low, high)
        for split, low, high in zip(parts, begins[:-1], begins[1:], strict=True)
        if high > low
    }
    source = Jpegs(path, names, np.concatenate([part.jpeg for part in parts.values()]), offset)
    classes = _classes(path, parts)
    notes = tuple(unlearned(classes, labels, splits))
    return LabelledImages(path, path.resolve().stem, classes, names, labels, splits, notes, source)


def _parts(path: Path, split: str) -> dict[str, Part]:
    """What an archive holds: images of the split that it is called by, or of those that its members are called by."""
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size > LIMIT:
            raise DataError(f"{path}: unpacks to {size / 2**30:,.1f} GiB, more than the limit of {LIMIT / 2**30:,.0f}")
        with np.load(path, allow_pickle=False) as archive:
            prefixes = {f"{name}_": name for name in SPLITS if f"{name}_jpeg" in archive} or {"": split}
            for prefix in prefixes:
                missing = [key for key in ("jpeg", "offset", "label") if prefix + key not in archive]
                if missing:
                    raise DataError(f"{path}: no member {prefix + missing[0]!r}; an archive of JPEGs has {MEMBERS}")
            return {name: _part(path, archive, prefix) for prefix, name in prefixes.items()}
    except DataError:
        raise
    except Exception as error:  # zip, LZMA and NumPy raise what they like
        raise DataError(f"{path}: can't be read as an archive of NumPy arrays ({one_line(error)})") from None


def _part(path: Path, archive: "np.lib.npyio.NpzFile", prefix: str) -> Part:
    jpeg, offset, label, name = (_member(archive, prefix + key) for key in ("jpeg", "offset", "label", "name"))
    fits = (
        jpeg.ndim == offset.ndim == label.ndim == 1
        and jpeg.dtype == np.uint8
        and offset.dtype.kind in "iu"
        and label.dtype.kind in "iu"
        and len(offset) == len(label) + 1
    )
    if not fits:
        raise DataError(
            f"{path}: the members {prefix}jpeg, {prefix}offset and {prefix}label don't fit: expected {MEMBERS}"
        )
    if name is not None and (name.shape != label.shape or name.dtype.kind != "U"):
        raise DataError(
            f"{path}: {prefix}name is {name.dtype} {list(name.shape)}; expected text (dtype U) {list(label.shape)}, "
            "class/number of each image"
        )
    if len(label) and label.max() >= CLASSES:
        raise DataError(f"{path}: {prefix}label holds {label.max():,}; labels are ids of classes, below {CLASSES:,}")
    offset, label = offset.astype(np.int64), label.astype(np.int64)
    if offset[0] != 0 or offset[-1] != len(jpeg) or (np.diff(offset) < 0).any():
        raise DataError(f"{path}: {prefix}offset must rise from 0 to the {len(jpeg):,} bytes of {prefix}jpeg")
    if len(label) and label.min() < 0:
        raise DataError(f"{path}: {prefix}label holds {label.min()}; labels are 0 or above")
    return Part(jpeg, offset, label, None if name is None else [str(each) for each in name])


def _member(archive: "np.lib.npyio.NpzFile", key: str) -> Any:
    """An array of an archive; None where there is none of that name."""
    try:
        return archive.get(key)
    except ValueError as error:
        raise ValueError(f"{key}: {one_line(error)}") from error


def _names(split: str, part: Part) -> list[str]:
    if part.name is None:
        return [f"{split}/{number:05}" for number in range(len(part.label))]
    return [f"{split}/{PurePosixPath(name).with_suffix('')}" for name in part.name]


def _classes(path: Path, parts: dict[str, Part]) -> tuple[str, ...]:
    count = 1 + max((int(part.label.max(initial=-1)) for part in parts.values()), default=-1)
    if not count:
        raise DataError(f"{path}: holds no images")
    named: dict[int, str] = {}
    for part in parts.values():
        for label, name in zip(part.label.tolist(), part.name or (), strict=False):
            folder = class_name(PurePosixPath(name).parent.name)
            if named.setdefault(label, folder) != folder:
                raise DataError(f"{path}: label {label} is {named[label]!r}, but {folder!r} by the name {name}")
    names = [named.get(label, "") for label in range(count)]
    if all(names) and len(set(names)) == count:
        return tuple(names)
    if count == len(CIFAR10) and path.name.lower().startswith(("cifar10", "cifar-10")):
        return CIFAR10
    return tuple(map(str, range(count)))
