"""Images with captions: a folder with ``captions.csv``."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segkit.data.splits import hashed_groups
from segkit.errors import DataError, UsageError
from segkit.labelled.image_list import Line, check_one, check_there, read_list
from segkit.labelled.images import SPLITS, LabelledImages
from segkit.labelled.naming import image_names
from segkit.labelled.sources import Files
from segkit.labelled.splits import HELD_OUT

LIST = "captions.csv"


@dataclass(frozen=True, eq=False)
class CaptionedImages:
    """Images of one dataset and what is said of them; :func:`open_captions` finds them.

    Attributes:
        images: the images, their names and splits; none has a label.
        captions: of each image, one or more.
    """

    images: LabelledImages
    captions: tuple[tuple[str, ...], ...]

    def texts(self, indices: Iterable[int]) -> list[str]:
        """All captions of some images, each text once, in the order of their first use."""
        return list(dict.fromkeys(text for index in indices for text in self.captions[index]))


def open_captions(path: str | Path) -> CaptionedImages:
    """Return the images and captions of a folder with ``captions.csv``, or of such a file.

    Its columns are ``file`` (from the list's folder on, or absolute), ``caption`` and, where one likes, ``split``
    (``train``, ``val``, ``test``); UTF-8, separated by comma, semicolon or tab. An image has as many rows as captions.
    Without a split ``val`` a tenth of the training images, by a hash of their names, is set aside for it.

    Raises:
        UsageError: there is no such list.
        DataError: what is wrong with the list, with its line; the images themselves aren't opened.
    """
    path = Path(path)
    path = path / LIST if path.is_dir() else path
    if not path.is_file():
        raise UsageError(f"{path}: no list of captions there; expected a CSV file with the columns file and caption")
    columns, lines, notes = read_list(path, "caption")
    captions: dict[str, list[str]] = {}
    first: dict[str, Line] = {}
    for line in lines:
        if not line.said:
            raise DataError(f"{path}: line {line.number}: no caption")
        captions.setdefault(line.file, []).append(line.said)
        before = first.setdefault(line.file, line)
        check_one(path, line, before, "split", line.split, before.split)
    check_there(path, list(first.values()))
    files = list(captions)
    splits = {file: line.split if "split" in columns else "train" for file, line in first.items()}
    if "train" in splits.values() and "val" not in splits.values():
        chosen = _held_out([file for file in files if splits[file] == "train"])
        splits |= dict.fromkeys(chosen, "val")
        if chosen:
            notes.append(
                f"no val split: {len(chosen):,} training images are held out as one "
                f"({HELD_OUT:.0%}, by a hash of the name)"
            )
    numbers = {split: [i for i, file in enumerate(files) if splits[file] == split] for split in SPLITS}
    images = LabelledImages(
        path=path,
        name=path.resolve().parent.name if path.name == LIST else path.stem,
        classes=(),
        names=image_names(files),
        labels=np.full(len(files), -1),
        splits={split: np.array(found, dtype=np.int64) for split, found in numbers.items() if found},
        notes=tuple(notes),
        source=Files(path.parent, files),
    )
    return CaptionedImages(images, tuple(map(tuple, captions.values())))


def _held_out(names: Sequence[str]) -> list[str]:
    """A tenth of the names, one at least where there are two."""
    count = max(1, round(HELD_OUT * len(names))) if len(names) > 1 else 0
    order = hashed_groups(names, {})
    return [group[0] for group in order[len(order) - count :]]


def own_captions(captions: Sequence[Sequence[str]], number: Mapping[str, int]) -> NDArray[np.bool_]:
    """Which texts, by their numbers 0..M - 1, each of N images has: bool [N, M]."""
    own = np.zeros((len(captions), max(number.values(), default=-1) + 1), dtype=np.bool_)
    for row, said in zip(own, captions, strict=True):
        row[[number[text] for text in said]] = True
    return own
