"""Every picture of a dataset and its masks read once, and what is kept of them: a few small facts."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from segkit.checking.alignment import Agreement, agreement
from segkit.checking.depth_maps import DepthFacts, depth_facts
from segkit.checking.mask_facts import Fault, MaskFacts, ignored, mask_facts, mask_files
from segkit.checking.picture_facts import Grid, PictureFacts, grey_of, picture_facts
from segkit.checking.survey import Survey, reason
from segkit.checking.volumes import VolumeFacts, off_grid, volume_facts
from segkit.cores import cores
from segkit.data.claims import LIMIT
from segkit.data.folder import Sample
from segkit.data.listing import is_volume
from segkit.data.mask_on_picture import fit
from segkit.data.masks import Values, read_values
from segkit.data.reader import Pixels, orientation_of, read_pixels
from segkit.data.suffixes import DICOM, suffix_of
from segkit.errors import DataError
from segkit.medical.reading import read_volume
from segkit.medical.slide import slide_of

if TYPE_CHECKING:
    from segkit.data.volume import Volume

AT_ONCE = 64  # pictures being read or waiting to be


@dataclass(frozen=True, eq=False)
class Facts:
    """What is known of one picture.

    Attributes:
        name: its stem.
        picture: None where it can't be read.
        masks: those that can be read; for multilabel one a class.
        agreement: of the masks with the picture, None where there is nothing to go by.
        faults: kinds of findings, each with its place.
        depth: None where there is none that can be read.
        volume: where it is in space; None of a picture. Its voxels are then those of one tall picture.
    """

    name: str
    picture: PictureFacts | None
    masks: tuple[MaskFacts, ...]
    agreement: Agreement | None
    faults: tuple[Fault, ...]
    depth: DepthFacts | None = None
    volume: VolumeFacts | None = None


def examine(seen: Survey, progress: Callable[[int, int], None] | None = None) -> list[Facts]:
    """Return the facts of every picture, read side by side (decoding leaves Python free), few at a time."""
    samples = list(seen.samples.values())
    facts: list[Facts] = []
    # A volume takes several times its file's size.
    with ThreadPoolExecutor(1 if seen.has_volumes else min(8, cores())) as pool:
        for start in range(0, len(samples), AT_ONCE):
            for one in pool.map(lambda sample: facts_of(seen, sample), samples[start : start + AT_ONCE]):
                facts.append(one)
                if progress is not None:
                    progress(len(facts), len(samples))
    return facts


def facts_of(seen: Survey, sample: Sample) -> Facts:
    """Return the facts of one picture."""
    faults: list[Fault] = []
    volume = _read_volume(seen, sample, faults) if sample.volume else None
    pixels = _tall(volume) if volume else None if sample.volume else _read(seen, sample.image, faults)
    grey = None if pixels is None else grey_of(pixels)
    picture = None if pixels is None or grey is None else picture_facts(sample.image, pixels, grey)
    if picture is not None and volume is not None:
        picture = replace(picture, dtype="voxels")  # of whatever type: windows are of each volume or in units
    size = picture.size if picture else None
    depth = _depth(seen, sample, size, faults)
    inside = _region(seen, sample, size, faults)

    masks: list[MaskFacts] = []
    layers: list[Values] = []
    for mask in mask_files(seen, sample):
        if isinstance(mask, tuple):
            faults.append(mask)
            continue
        file = mask.path
        try:
            one, values = mask_facts(seen, sample, mask, size, inside, volume)
        except DataError as error:
            fault = ("unreadable", seen.place(file, reason(error, file)))
            faults += [fault] if fault not in faults else []  # of one file with several classes once
            continue
        masks.append(one)
        layers.append(values)
        if size is not None and not one.fits and (volume is None or (suffix_of(file) != DICOM and not is_volume(file))):
            faults.append(("size", seen.place(file, _sizes(one.size, size))))
    agrees = None
    # Compression draws boundaries of its own, and colours without a palette are no labels.
    if volume is not None:  # whose edges are in three dimensions, and whose grids say more
        faults += [("grid", place) for place in off_grid(seen, sample, volume)]
    elif not any(kind == "unreadable" for kind, _ in faults) and not any(one.lossy or one.colour for one in masks):
        agrees = _agreement(seen, grey, masks, layers, inside)
    known = None if volume is None else volume_facts(volume)
    return Facts(sample.name, picture, tuple(masks), agrees, tuple(faults), depth, known)


def _read_volume(seen: Survey, sample: Sample, faults: list[Fault]) -> "Volume | None":
    try:
        return read_volume(sample.image)
    except DataError as error:
        faults.append(("unreadable", seen.place(sample.image, reason(error, sample.image))))
        return None


def _tall(volume: "Volume") -> Pixels:
    """A volume's voxels as one tall picture [I · J, K, C]."""
    i, j, k, channels = volume.values.shape
    return np.ascontiguousarray(volume.values.reshape(i * j, k, channels), dtype=np.float32)


def _read(seen: Survey, file: Path, faults: list[Fault]) -> Pixels | None:
    try:
        return read_pixels(file)
    except DataError as error:
        slide = slide_of(file)
        large = slide is not None and slide.levels[0].height * slide.levels[0].width * 3 > LIMIT
        faults.append(("large" if large else "unreadable", seen.place(file, reason(error, file))))
        return None


def _depth(seen: Survey, sample: Sample, size: tuple[int, int] | None, faults: list[Fault]) -> DepthFacts | None:
    if sample.depth is None:
        return None
    try:
        facts = depth_facts(seen, sample.depth, size)
    except DataError as error:
        faults.append(("unreadable", seen.place(sample.depth, reason(error, sample.depth))))
        return None
    # Another camera's depth may have any size; on the stored pixels of a turned picture it is turned with it.
    if size is not None and facts.size != size and seen.description.depth_to_colour is None:
        turned = facts.size == size[::-1] and orientation_of(sample.image) >= 5
        if not turned:
            faults.append(("depth_size", seen.place(sample.depth, _sizes(facts.size, size))))
    return facts


def _region(
    seen: Survey, sample: Sample, size: tuple[int, int] | None, faults: list[Fault]
) -> NDArray[np.bool_] | None:
    """The region of interest [H, W], of the picture's size; None where there is none."""
    if sample.roi is None:
        return None
    try:
        inside = read_values(sample.roi)
    except DataError as error:
        faults.append(("unreadable", seen.place(sample.roi, reason(error, sample.roi))))
        return None
    if size is not None and inside.shape != size:
        try:
            inside = fit(inside, size, sample.roi, sample.image)
        except DataError:
            faults.append(("size", seen.place(sample.roi, _sizes(inside.shape[:2], size))))
            return None
    return np.asarray(inside > 0)


def _agreement(
    seen: Survey, grey: Grid | None, masks: list[MaskFacts], layers: list[Values], inside: NDArray[np.bool_] | None
) -> Agreement | None:
    if grey is None or not layers or any(layer.shape != layers[0].shape for layer in layers):
        return None
    shape = layers[0].shape
    if shape not in (grey.shape, grey.shape[::-1]):
        return None
    counts = np.ones(shape, dtype=bool) if inside is None or inside.shape != shape else inside.copy()
    for mask, layer in zip(masks, layers, strict=True):
        counts &= ~ignored(layer, mask, seen)
    return agreement(grey, np.stack(layers), counts)


def _sizes(size: tuple[int, ...], picture: tuple[int, int]) -> str:
    return f"{size[1]}×{size[0]}, its picture {picture[1]}×{picture[0]}"
