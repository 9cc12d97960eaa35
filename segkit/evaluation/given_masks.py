"""Masks that exist already, from a second reader or another program, read in place of a prediction."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segkit.data.coding import find_coding
from segkit.data.description import Description
from segkit.data.folder import DatasetFolder, Sample
from segkit.data.masks import LOSSLESS, read_values
from segkit.data.picture import open_picture
from segkit.data.reader import orientation_of
from segkit.data.suffixes import DICOM, VOLUMES, as_there, suffix_of
from segkit.errors import DataError
from segkit.medical.slide import slide_of
from segkit.task import Task


def given_masks(masks: Path, folder: DatasetFolder, samples: list[Sample]) -> Iterator[list[NDArray[np.uint8]]]:
    """Labels of each sample, [H, W] (multilabel: [K, H, W]), from the mask of its name in ``masks``.

    ``NAME_mask.png`` comes before ``NAME.png``, so that what ``segkit predict`` wrote can be scored where it lies; for
    a DICOM series that is ``NAME_s001_mask.dcm``, here or in a folder ``NAME``. What their values mean is decided for
    this folder by itself: they may be 0 and 255 where the dataset's own are ids.

    Raises:
        DataError: a sample has no mask, or one of another size (of a picture of known resolution: of another shape),
            or with values that are no class.
    """
    found = [replace(sample, mask=_find(masks, sample, folder.task), roi=None) for sample in samples]
    reading = _coded(folder, [sample.mask for sample in found if sample.mask is not None])

    def read() -> Iterator[list[NDArray[np.uint8]]]:
        for given, true in zip(found, samples, strict=True):
            size, stored = _size(folder, true), reading.read_mask(given)
            kept = stored.shape[-2:] == size or (not true.volume and _zoomed(stored, size, true.image))
            yield [stored if kept else reading.read_mask(given, size)]

    return read()


def _zoomed(ids: NDArray[np.uint8], size: tuple[int, int], image: Path) -> bool:
    """Whether a mask [..., H, W] is of its picture at another resolution, of a picture whose resolution is known.

    That is what a model writes which was shown it so.
    """
    (height, width), slide = ids.shape[-2:], slide_of(image)
    across = abs(height * size[1] - width * size[0])  # half a pixel for each side's rounding
    return slide is not None and slide.said_by is not None and 2 * across <= size[0] + size[1]


def _size(folder: DatasetFolder, sample: Sample) -> tuple[int, int]:
    """Height and width of the upright picture; masks of pictures that a tag turns may be drawn on either."""
    if orientation_of(sample.image) >= 5:
        height, width, _ = open_picture(sample.image).shape
        return height, width
    height, width = folder.read_mask(sample).shape[-2:]
    return height, width


def _find(masks: Path, sample: Sample, task: Task) -> Path:
    name = sample.name
    dicom = sample.volume and (sample.image.is_dir() or suffix_of(sample.image) == DICOM)
    for stem in (f"{name}_mask", name):
        if task == "multilabel" and as_there(masks / stem).is_dir() and not dicom:
            return as_there(masks / stem)
        for suffix in (*LOSSLESS, *VOLUMES) if task != "multilabel" else (DICOM,) if dicom else ():
            if as_there(masks / f"{stem}{suffix}").is_file():
                return as_there(masks / f"{stem}{suffix}")
    if dicom:  # what is written for a series has its number
        numbered = re.compile(rf"{re.escape(name)}(_s\d+)?_mask{DICOM}")
        folders = [folder for folder in (masks, masks / name) if folder.is_dir()]
        written = [file for folder in folders for file in sorted(folder.iterdir()) if numbered.fullmatch(file.name)]
        if len(written) == 1:
            return written[0]
    if task == "multilabel" and not dicom:
        expected = f"a folder {name} or {name}_mask with a file for each class"
        raise DataError(f"{masks}: no mask for {name}; expected {expected}")
    suffix = DICOM if dicom else suffix_of(sample.image) if sample.volume else ".png"
    others = "" if sample.volume else " (or .tif)"
    raise DataError(f"{masks}: no mask for {name}; expected {name}{suffix} or {name}_mask{suffix}{others}")


def _coded(folder: DatasetFolder, files: list[Path]) -> DatasetFolder:
    """The dataset as it would be with these masks: ids, 0 and 255, or the dataset's own colours."""
    if folder.palette and _in_colours(folder, files):
        return folder
    description = Description(task=folder.task, classes=folder.classes)
    return replace(folder, coding=find_coding(files, description), palette=None, ignore_index=None)


def _in_colours(folder: DatasetFolder, files: Sequence[Path]) -> bool:
    """Whether masks are in the dataset's colours; of greys, where they are its colours and can't be ids."""
    greys: set[int] = set()
    for file in files:
        try:
            greys.update(np.unique(read_values(file)).tolist())
        except DataError:  # in colour
            return True
    colours = set((folder.palette or {}).values())
    return not greys <= set(range(len(folder.classes))) and all((grey, grey, grey) in colours for grey in greys)
