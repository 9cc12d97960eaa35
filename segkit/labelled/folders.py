"""Images in a folder for each class: ``train/CLASS/…``, ``val/CLASS/…``, ``test/CLASS/…``, or ``CLASS/…`` alone."""

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from segkit.data.listing import entries
from segkit.data.reader import PICTURES
from segkit.data.suffixes import suffix_of
from segkit.errors import DataError
from segkit.given_path import why_no_text
from segkit.labelled.images import SPLITS, UNLABELLED, LabelledImages
from segkit.labelled.naming import ALIASES, class_name, class_order, image_names
from segkit.labelled.sources import Files
from segkit.labelled.splits import drawn_splits, shared, unlearned, with_unlabelled

LIKE_A_SPLIT = re.compile(rf"({'|'.join(ALIASES)})[\W_]*(set|data|dataset|images?|imgs?|split)?", re.IGNORECASE)
LITTER = ("__MACOSX",)  # what archives made on a Mac leave behind
OURS = ("recipe.yaml", "segkit.json", "metrics.json")


@dataclass
class Found:
    """The images of a folder.

    Attributes:
        files: their paths below the dataset's folder, with ``/``.
        real: the file that each is in the end, through links.
        others: how many files of other types there are, by suffix.
    """

    files: list[str] = field(default_factory=list)
    real: list[str] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)


def open_folders(path: Path) -> LabelledImages:
    """Return the images of a folder; splits are drawn by a hash of the names where there are folders of classes alone.

    Classes are the folders that hold images, at any depth, in any split; their names are compared in one form of
    Unicode. Hidden files and folders are passed over, and links are followed. Images that lie beside the folders of
    classes have no label.

    Raises:
        DataError: there are no folders of images, one alone, two of one split, splits in the place of classes or below
            them, or a link that leads nowhere.
    """
    roots = split_folders(path)
    found = Found()
    classes: list[str] = []
    splits: list[str] = []
    for split, root in roots.items() if roots else [("", path)]:
        pictures_of(path, root, found, deep=False)
        classes += [""] * (len(found.files) - len(classes))
        for folder in visible_folders(root):
            pictures_of(path, folder, found)
            classes += [class_name(folder.name)] * (len(found.files) - len(classes))
        splits += [split] * (len(found.files) - len(splits))
    order = class_order(name for name in classes if name)
    shown = {class_name(folder.name) for root in roots.values() or [path] for folder in visible_folders(root)}
    empty = sorted(shown - {*order})
    if not order:
        raise DataError(
            f"{path}: no folders with images ({', '.join(PICTURES)}); expected a folder for each class, or train/, "
            "val/ and test/ with such folders"
        )
    if not roots and len(order) == 1:
        raise DataError(
            f"{path}: images in one folder only, {order[0]!r}; classes are two folders or more. If that is the "
            f"dataset, name {path / order[0]}"
        )
    if not roots:
        _check_classes(path, order)
    ids = {name: number for number, name in enumerate(order)} | {"": -1}
    labels = np.array([ids[name] for name in classes], dtype=np.int64)
    names = image_names(found.files)
    notes = left_out(found) + [f"no images in {name!r}: not a class" for name in empty]
    if roots:
        listed = np.array(splits)
        parts = with_unlabelled({split: np.flatnonzero(listed == split) for split in SPLITS if split in roots}, labels)
        notes += shared(found.real, parts, how="by a link") + unlearned(order, labels, parts)
        beside = [folder.name for folder in visible_folders(path) if folder not in roots.values()]
        notes += [f"{name!r} is no split (train, val, test): left out" for name in beside]
    else:
        parts = drawn_splits(names, labels)
        sizes = ", ".join(f"{split} {len(parts[split]):,}" for split in SPLITS if split in parts)
        notes.append(f"no folders of splits: 70/15/15 % of each class by a hash of the name ({sizes})")
    if UNLABELLED in parts:
        notes.append(f"{len(parts[UNLABELLED]):,} images lie in no class's folder: without label")
    return LabelledImages(
        path, path.resolve().name, order, names, labels, parts, tuple(notes), Files(path, found.files)
    )


def _check_classes(path: Path, classes: Sequence[str]) -> None:
    """Raise DataError where folders of classes are splits by their names, or hold nothing but splits."""
    if all(LIKE_A_SPLIT.fullmatch(name) for name in classes):
        raise DataError(
            f"{path}: {' and '.join(classes)} are called like splits, not classes; expected train/CLASS/…, "
            "val/CLASS/…, test/CLASS/…, with the folders of splits called so"
        )
    for folder in visible_folders(path):
        inside = [inner.name for inner in visible_folders(folder)]
        if inside and all(name.lower() in ALIASES for name in inside):
            raise DataError(
                f"{folder}: holds {' and '.join(inside)}; splits are above the classes: expected "
                f"{inside[0]}/{folder.name}/…. If {folder.name!r} is a dataset of its own, name it"
            )


def split_folders(path: Path) -> dict[str, Path]:
    """The folders of splits; none where one of their names is that of a class, which holds no folders.

    Raises:
        DataError: two folders are of one split.
    """
    named = [folder for folder in visible_folders(path) if folder.name.lower() in ALIASES]
    if not any(visible_folders(folder) for folder in named):
        return {}
    found: dict[str, Path] = {}
    for folder in named:
        split = ALIASES[folder.name.lower()]
        if split in found:
            raise DataError(f"{folder}: {found[split].name!r} is the same split, {split}; keep one of them")
        found[split] = folder
    return {split: found[split] for split in SPLITS if split in found}


def visible_folders(folder: Path) -> list[Path]:
    """Folders in a folder, sorted; hidden ones, litter, and what segkit itself left there are passed over."""
    return [entry for entry in entries(folder) if entry.is_dir() and entry.name not in LITTER and not _ours(entry)]


def _ours(folder: Path) -> bool:
    """Whether a folder is a run, a model or a report, or holds runs: their pictures are of no class."""
    with suppress(PermissionError):  # which whoever reads it will say
        return any((folder / name).is_file() for name in OURS) or any(folder.glob("*/recipe.yaml"))
    return False


def pictures_of(path: Path, folder: Path, found: Found, *, deep: bool = True) -> None:
    """Put the pictures of a folder, and of all below it if ``deep``, into ``found``, sorted.

    Raises:
        DataError: a link leads nowhere, a folder can't be read, or a name can't be written down.
    """
    for file, real in _walk(str(folder), (os.path.realpath(folder),), deep):
        suffix = suffix_of(Path(file))
        if suffix in PICTURES:
            found.files.append(Path(file).relative_to(path).as_posix())
            found.real.append(real)
        elif deep:  # what lies beside the folders of classes describes them
            found.others[suffix or "no suffix"] += 1


def _walk(folder: str, above: tuple[str, ...], deep: bool) -> Iterator[tuple[str, str]]:
    """Visible files and what they are in the end; ``above`` are the folders on the way, for links that go round."""
    try:
        with os.scandir(folder) as scanned:
            inside = sorted((entry for entry in scanned if entry.name[0] != "."), key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(f"{folder}: can't be read ({error.strerror or error})") from error
    for entry in inside:
        if (why := why_no_text(entry.name)) is not None:
            raise DataError(f"{folder}: {why}")
        # Of a million files, paths as objects would take longer than the reading.
        real = os.path.realpath(entry.path) if entry.is_symlink() else os.path.join(above[-1], entry.name)  # noqa: PTH118
        if entry.is_dir():
            if deep and real not in above and entry.name not in LITTER:
                yield from _walk(entry.path, (*above, real), deep)
        elif entry.is_symlink() and not entry.is_file():
            raise DataError(f"{entry.path}: a link that leads nowhere ({real}); mend or remove it")
        else:
            yield entry.path, real


def left_out(found: Found) -> list[str]:
    """What is to be said of files that are no pictures."""
    if not found.others:
        return []
    kinds = ", ".join(f"{count:,} × {suffix}" for suffix, count in sorted(found.others.items()))
    return [f"files of types that are not read here are left out: {kinds}"]
