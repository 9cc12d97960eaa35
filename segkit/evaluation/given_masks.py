"""Masks that exist already, from a second reader or another program, read in place of a prediction."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segkit.data.coding import find_coding
from segkit.data.description import Description
from segkit.data.folder import DatasetFolder, Sample
from segkit.data.listing import VOLUMES
from segkit.data.masks import LOSSLESS, read_values
from segkit.data.picture import open_picture
from segkit.data.reader import orientation_of
from segkit.errors import DataError
from segkit.task import Task


def given_masks(masks: Path, folder: DatasetFolder, samples: list[Sample]) -> Iterator[list[NDArray[np.uint8]]]:
    """Labels of each sample, [H, W] (multilabel: [K, H, W]), from the mask of its name in ``masks``.

    ``NAME_mask.png`` comes before ``NAME.png``, so that what ``segkit predict`` wrote can be scored where it lies. What
    their values mean is decided for this folder by itself: they may be 0 and 255 where the dataset's own are ids.

    Raises:
        DataError: a sample has no mask, or one of another size, or with values that are no class.
    """
    found = [replace(sample, mask=_find(masks, sample.name, folder.task), roi=None) for sample in samples]
    reading = _coded(folder, [sample.mask for sample in found if sample.mask is not None])

    def read() -> Iterator[list[NDArray[np.uint8]]]:
        for given, true in zip(found, samples, strict=True):
            yield [reading.read_mask(given, _size(folder, true))]

    return read()


def _size(folder: DatasetFolder, sample: Sample) -> tuple[int, int]:
    """Height and width of the upright picture; masks of pictures that a tag turns may be drawn on either."""
    if orientation_of(sample.image) >= 5:
        height, width, _ = open_picture(sample.image).shape
        return height, width
    height, width = folder.read_mask(sample).shape[-2:]
    return height, width


def _find(masks: Path, name: str, task: Task) -> Path:
    for stem in (f"{name}_mask", name):
        if task == "multilabel":
            if (masks / stem).is_dir():
                return masks / stem
        else:
            for suffix in (*LOSSLESS, *VOLUMES):
                if (masks / f"{stem}{suffix}").is_file():
                    return masks / f"{stem}{suffix}"
    raise DataError(f"{masks}: no mask for {name}; expected {name}.png or {name}_mask.png (or .tif)")


def _coded(folder: DatasetFolder, files: list[Path]) -> DatasetFolder:
    """The dataset as it would be with these masks: ids, 0 and 255, or the dataset's own colours."""
    if folder.palette:
        try:
            read_values(files[0])
        except DataError:  # in colour
            return folder
    description = Description(task=folder.task, classes=folder.classes)
    return replace(folder, coding=find_coding(files, description), palette=None, ignore_index=None)
