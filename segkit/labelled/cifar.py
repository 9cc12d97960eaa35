"""CIFAR-10 and CIFAR-100 as they are unpacked, in the versions for Python and for C programs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segkit.errors import DataError
from segkit.labelled.images import LabelledImages
from segkit.labelled.sources import Arrays
from segkit.one_line import one_line

SIDE = 32
PLANES = 3 * SIDE * SIDE


@dataclass(frozen=True)
class Binary:
    """One of the versions for C programs.

    Attributes:
        folder: its folder's name.
        train, test: files of records: labels, then red, green and blue planes, all of bytes.
        classes: the file with the classes' names, one in a line.
        labels: bytes of labels before each image, the last of which is the class.
        images: that a file of train, and one of test, was published with.
    """

    folder: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    classes: str
    labels: int
    images: tuple[int, int]


BINARIES = (
    Binary(
        "cifar-10-batches-bin",
        tuple(f"data_batch_{number}.bin" for number in range(1, 6)),
        ("test_batch.bin",),
        "batches.meta.txt",
        1,
        (10_000, 10_000),
    ),
    Binary("cifar-100-binary", ("train.bin",), ("test.bin",), "fine_label_names.txt", 2, (50_000, 10_000)),
)
PICKLED = {"cifar-10-batches-py": "CIFAR10", "cifar-100-python": "CIFAR100"}
"""Folders of the versions for Python, and torchvision's classes of them."""


def cifar_folder(path: Path) -> Path | None:
    """The folder of CIFAR's files that a path is, or holds, by its own name or a link's; None where there is none.

    Raises:
        DataError: it holds several.
    """
    known = [*PICKLED, *(binary.folder for binary in BINARIES)]
    if path.resolve().name in known:
        return path.resolve()
    found = [path.absolute()] if path.name in known else [path / name for name in known if (path / name).is_dir()]
    if len(found) > 1:
        raise DataError(f"{path}: holds {' and '.join(folder.name for folder in found)}; name one of them")
    return found[0] if found else None


def open_cifar(folder: Path) -> LabelledImages:
    """Return the images of one of CIFAR's folders, with its own train and test; of CIFAR-100 the hundred classes.

    Raises:
        DataError: a file is missing or has other contents. The versions for Python are pickles, so no file is opened
            whose MD5 is not the published one.
    """
    kind = folder.name
    notes: list[str] = []
    if kind in PICKLED:
        classes, parts = _pickled(folder)
    else:
        classes, parts, notes = _binary(folder, next(binary for binary in BINARIES if binary.folder == kind))
    return of_arrays(folder, kind.rsplit("-", 1)[0].removesuffix("-batches"), classes, parts, notes)


def of_arrays(
    path: Path,
    name: str,
    classes: Sequence[str],
    parts: dict[str, tuple[NDArray[np.uint8], NDArray[np.int64]]],
    notes: Sequence[str] = (),
) -> LabelledImages:
    """Images uint8 [N, H, W, C] and labels [N] of each split, named by split and number: ``train/00017``."""
    names = [f"{split}/{number:05}" for split, (images, _) in parts.items() for number in range(len(images))]
    splits, begin = {}, 0
    for split, (images, _) in parts.items():
        splits[split] = np.arange(begin, begin + len(images))
        begin += len(images)
    images = np.concatenate([images for images, _ in parts.values()])
    labels = np.concatenate([labels for _, labels in parts.values()])
    return LabelledImages(path, name, tuple(classes), names, labels, splits, tuple(notes), Arrays(path, names, images))


def _pickled(folder: Path) -> tuple[list[str], dict[str, tuple[NDArray[np.uint8], NDArray[np.int64]]]]:
    from torchvision import datasets

    kind = getattr(datasets, PICKLED[folder.name])
    parts = {}
    for split, train in (("train", True), ("test", False)):
        try:
            dataset = kind(folder.parent, train=train)  # checks every file's MD5 before it opens one
        except (RuntimeError, OSError) as error:
            raise DataError(
                f"{_damaged(folder, kind) or one_line(error)}; such files are pickles, which can run programs, so they "
                "aren't opened. Unpack the archive again"
            ) from error
        parts[split] = dataset.data, np.array(dataset.targets, dtype=np.int64)
    return list(dataset.classes), parts


def _damaged(folder: Path, kind: Any) -> str | None:
    """The first of a version's files that isn't there or isn't the published one, and which of the two."""
    from torchvision.datasets.utils import check_integrity

    for name, md5 in [*kind.train_list, *kind.test_list, (kind.meta["filename"], kind.meta["md5"])]:
        if not (folder / name).is_file():
            return f"{folder / name}: the file is missing"
        if not check_integrity(folder / name, md5):
            return f"{folder / name}: its MD5 is not the published one"
    return None


def _binary(
    folder: Path, version: Binary
) -> tuple[list[str], dict[str, tuple[NDArray[np.uint8], NDArray[np.int64]]], list[str]]:
    """Classes, the splits' images and labels, and what is to be said of files of other sizes than published."""
    try:
        lines = (folder / version.classes).read_text(encoding="utf-8").splitlines()
        classes = [line.strip() for line in lines if line.strip()]
        read = {
            split: [_records(folder / file, version, len(classes)) for file in files]
            for split, files in (("train", version.train), ("test", version.test))
        }
    except OSError as error:
        raise DataError(
            f"{error.filename or folder}: can't be read ({error.strerror}); unpack the archive again"
        ) from None
    except UnicodeDecodeError:
        raise DataError(f"{folder / version.classes}: not UTF-8; unpack the archive again") from None
    other = [
        f"{file} has {len(records):,} images, not {published:,}"
        for files, found, published in zip((version.train, version.test), read.values(), version.images, strict=True)
        for file, records in zip(files, found, strict=True)
        if len(records) != published
    ]
    parts = {split: _split(np.concatenate(found), version) for split, found in read.items()}
    return classes, parts, [f"other sizes than published: {'; '.join(other)}"] if other else []


def _split(records: NDArray[np.uint8], version: Binary) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images [N, H, W, C] and labels [N] of records."""
    images = records[:, version.labels :].reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(images), records[:, version.labels - 1].astype(np.int64)


def _records(file: Path, version: Binary, classes: int) -> NDArray[np.uint8]:
    """The records of a file, [N, bytes]."""
    data, length = np.fromfile(file, dtype=np.uint8), version.labels + PLANES
    if not len(data) or len(data) % length:
        raise DataError(f"{file}: {len(data):,} bytes are not whole records of {length:,}; unpack the archive again")
    records = data.reshape(-1, length)
    if (largest := records[:, version.labels - 1].max()) >= classes:
        raise DataError(f"{file}: label {largest} of {classes} classes; unpack the archive again")
    return records
