"""Tiny-ImageNet as it is unpacked: ``train/WNID/images/``, ``val/images/`` and its annotations, ``words.txt``."""

from collections import Counter
from pathlib import Path

import numpy as np

from segkit.errors import DataError
from segkit.labelled.folders import Found, left_out, pictures_of, visible_folders
from segkit.labelled.images import UNLABELLED, LabelledImages
from segkit.labelled.naming import image_names
from segkit.labelled.sources import Files
from segkit.labelled.splits import with_unlabelled

ANNOTATIONS = Path("val", "val_annotations.txt")


def open_tiny_imagenet(path: Path) -> LabelledImages:
    """Return the images of Tiny-ImageNet's folder; classes in the order of their WordNet ids.

    They are named by ``words.txt``; without it by their ids. Test images have no labels, so they are in the split
    ``unlabelled``.

    Raises:
        DataError: the annotations have another form, name files that aren't there, or leave some out.
    """
    found = Found()
    ids = [folder.name for folder in visible_folders(path / "train")]
    labels: list[int] = []
    for number, wnid in enumerate(ids):
        pictures_of(path, path / "train" / wnid, found)
        labels += [number] * (len(found.files) - len(labels))
    trained = len(labels)
    pictures_of(path, path / "val", found)
    annotated = _annotations(path / ANNOTATIONS, {wnid: number for number, wnid in enumerate(ids)})
    for file in found.files[trained:]:
        label = annotated.pop(Path(file).name, None)
        if label is None:
            raise DataError(f"{path / ANNOTATIONS}: has no line for {Path(file).name}")
        labels.append(label)
    if annotated:
        raise DataError(f"{path / ANNOTATIONS}: {min(annotated)} is not there ({len(annotated):,} files are missing)")
    validated = len(labels)
    if (path / "test").is_dir():
        pictures_of(path, path / "test", found)
        labels += [-1] * (len(found.files) - len(labels))
    known = np.array(labels, dtype=np.int64)
    parts = {"train": np.arange(trained), "val": np.arange(trained, validated)}
    splits = with_unlabelled(parts, known)
    found.others.pop(".txt", None)  # boxes of the objects, and the annotations
    notes = left_out(found)
    if UNLABELLED in splits:
        notes.append("the test images have no labels; published figures are of val")
    return LabelledImages(
        path,
        path.resolve().name,
        _class_names(path / "words.txt", ids),
        image_names(found.files),
        known,
        splits,
        tuple(notes),
        Files(path, found.files),
    )


def _annotations(path: Path, ids: dict[str, int]) -> dict[str, int]:
    """Classes of the validation images, by their files' names."""
    found = {}
    for number, line in enumerate(_lines(path), start=1):
        file, _, rest = line.partition("\t")
        wnid = rest.partition("\t")[0]
        if wnid not in ids:
            raise DataError(f"{path}: line {number}: expected a file and the id of a class in train/, found {line!r}")
        found[file] = ids[wnid]
    return found


def _class_names(path: Path, ids: list[str]) -> tuple[str, ...]:
    """The first word for each id; with the id where two have the same one."""
    words = dict(line.split("\t", 1) for line in _lines(path) if "\t" in line) if path.is_file() else {}
    names = [words.get(wnid, wnid).split(",")[0].strip() for wnid in ids]
    times = Counter(names)
    return tuple(name if times[name] == 1 else f"{name} ({wnid})" for name, wnid in zip(names, ids, strict=True))


def _lines(path: Path) -> list[str]:
    try:
        return [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not a readable text file ({error})") from None
