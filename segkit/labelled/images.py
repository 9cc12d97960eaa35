"""Images with one label each, as whatever layout they were found in: their names, labels, splits and pixels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from segkit.data.reader import Pixels, Reader
from segkit.errors import DataError, UsageError
from segkit.nearest import nearest

SPLITS = ("train", "val", "test")
UNLABELLED = "unlabelled"
"""The split of the images that have no label; no other split holds any of them."""


class Source(Protocol):
    """Where the pixels of images come from; it can be pickled, so that other processes read too."""

    def pixels(self, index: int) -> Pixels:
        """Pixels [H, W, C] of an image, uint8, uint16 or float32; DataError where they can't be read."""
        ...

    def place(self, index: int) -> str:
        """What an error calls the image: its file, or its number in an archive."""
        ...


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Images of one dataset; :func:`segkit.labelled.opening.open_labelled` finds them.

    Attributes:
        path: the folder or file that was opened.
        name: of the dataset.
        classes: their names, in the order of their ids.
        names: of each image, unique, with ``/`` between folders and without suffix: ``"cat/0001"``.
        labels: int64 [N], ids of the classes; -1 where an image has no label.
        splits: ``train``, ``val`` and ``test``, those that there are, and ``unlabelled`` for the images without label:
            indices into the N images, int64, rising.
        notes: what was decided on opening it that a user should know.
        source: where pixels come from.
    """

    path: Path
    name: str
    classes: tuple[str, ...]
    names: Sequence[str]
    labels: NDArray[np.int64]
    splits: Mapping[str, NDArray[np.int64]]
    notes: tuple[str, ...]
    source: Source

    def __len__(self) -> int:
        return len(self.names)

    def indices(self, *splits: str) -> NDArray[np.int64]:
        """Indices of the images of these splits, split after split, each once.

        Raises:
            DataError: there is no such split.
            UsageError: no split is asked for.
        """
        if not splits:
            raise UsageError("indices(): name one split or more, such as 'train'")
        for split in splits:
            if split not in self.splits:
                raise DataError(f"{self.path}: no split {split!r}{nearest(split, list(self.splits))}")
        return np.concatenate([self.splits[split] for split in dict.fromkeys(splits)])

    def read(self, index: int, channels: int = 3) -> NDArray[np.uint8]:
        """Return an image upright, uint8 [H, W, channels]: grey repeated, or colour as luma; no alpha.

        16 bits become 8, and floats in 0..1 become 0..255, rounded.

        Raises:
            DataError: the file can't be read, or has other channels or values; it is named.
        """
        reader, pixels = Reader(channels=channels), self.source.pixels(index)
        try:
            found = reader.channels_of(pixels)
            if found.dtype != np.uint8:
                found = np.rint(reader.scale(found) * 255).astype(np.uint8)
        except ValueError as error:
            raise DataError(f"{self.source.place(index)}: {error}") from error
        return np.ascontiguousarray(found, dtype=np.uint8)
