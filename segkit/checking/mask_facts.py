"""What a mask file holds: its values with their counts, and what is odd about how it is stored."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from segkit.checking.findings import Place
from segkit.checking.survey import LOSSY, Survey, reason
from segkit.data.coding import background_of, named_classes, task_of
from segkit.data.folder import Sample
from segkit.data.listing import by_stem
from segkit.data.mask_on_picture import fit, of_level
from segkit.data.masks import IGNORE, LOSSLESS, Values, ids_of_colours, in_colour, read_stored, whole_values
from segkit.data.reader import Pixels, read_pixels
from segkit.data.suffixes import DICOM, VOLUMES, suffix_of
from segkit.errors import DataError
from segkit.medical.reading import read_volume
from segkit.nearest import nearest

if TYPE_CHECKING:
    from segkit.data.volume import Volume

AT_ONCE = 1 << 24  # pixels that are counted
ALPHA = (4, 6)  # colour types of PNGs with transparency
Fault = tuple[str, Place]


@dataclass(frozen=True)
class MaskFile:
    """Where a mask is.

    Attributes:
        path: its file.
        label: for multilabel the class that it shows; of a DICOM Segmentation object, which shows all, one of them.
    """

    path: Path
    label: str = ""


@dataclass(frozen=True, eq=False)
class MaskFacts:
    """What a mask file holds.

    Attributes:
        file: where it is.
        label: for multilabel the class that it shows.
        values: those that occur, ascending, as stored; of a palette's colours, class ids with 254 for no class.
        counts: how many pixels of the region of interest have each.
        strange: colours 0xRRGGBB that are not in the palette.
        size: (height, width), as its picture lies.
        wide: stored with more than 8 bits.
        alpha: stored with transparency.
        lossy: stored with lossy compression.
        colour: in colour, though the dataset names no palette.
        fits: it has its picture's size.
    """

    file: Path
    label: str
    values: NDArray[np.intp] = field(repr=False)
    counts: NDArray[np.intp] = field(repr=False)
    strange: NDArray[np.uint32] = field(repr=False)
    size: tuple[int, int]
    wide: bool
    alpha: bool
    lossy: bool
    colour: bool
    fits: bool


def mask_files(seen: Survey, sample: Sample) -> Iterator[MaskFile | Fault]:
    """The masks of a picture, for multilabel in the order of the classes, or what is wrong in their place."""
    if sample.mask is None:
        if sample.name in seen.lossy:
            yield MaskFile(seen.lossy[sample.name])
    elif seen.description.task != "multilabel":
        yield MaskFile(sample.mask)
    elif suffix_of(sample.mask) == DICOM:
        yield from (MaskFile(sample.mask, name) for name in seen.description.classes)
    else:
        try:
            files = by_stem(sample.mask, (*LOSSLESS, *VOLUMES))
        except DataError as error:
            yield "unreadable", seen.place(sample.mask, reason(error, sample.mask))
            return
        for name in seen.description.classes:
            expected = seen.place(sample.mask / f"{name}.png", f"no such file{nearest(name, files)}")
            yield MaskFile(files[name], name) if name in files else ("unreadable", expected)


def mask_facts(
    seen: Survey,
    sample: Sample,
    mask: MaskFile,
    size: tuple[int, int] | None,
    inside: NDArray[np.bool_] | None,
    volume: "Volume | None" = None,
) -> tuple[MaskFacts, Values]:
    """Return what a mask holds, and its values [H, W], turned with its picture where that makes the sizes agree.

    Args:
        seen: the dataset.
        sample: the picture.
        mask: where its mask is, or that of one class.
        size: the picture's (height, width), if it could be read.
        inside: the region of interest, if there is one.
        volume: the picture's, if it is one and was read.

    Raises:
        DataError: the mask can't be read.
    """
    file, palette, strange = mask.path, seen.description.palette, np.empty(0, dtype=np.uint32)
    if suffix_of(file) == DICOM:
        stored = segments(seen, read_volume(sample.image) if volume is None else volume, mask)
    else:
        stored = read_pixels(file, upright=False) if palette else read_stored(file)
    if sample.volume and stored.shape[2] != 1:
        raise DataError(f"{file}: the mask has {stored.shape[2]} channels; export class ids, one channel")
    colour = not palette and in_colour(stored) and file.suffix.lower() not in LOSSY
    values: Values
    if palette:
        values, strange = ids_of_colours(stored, palette, seen.description.classes, file)
    else:
        values = whole_values(stored, file)
    fits = size is None or values.shape == size
    if size is not None and not fits:
        with suppress(DataError):  # told by its size
            values, fits = fit(values, size, file, sample.image), True
        fits = fits or of_level(values, sample.image)
    counts = _counts(values)
    found = np.flatnonzero(counts)
    if inside is not None and inside.shape == values.shape:
        counts = _counts(values, inside)
    facts = MaskFacts(
        file=file,
        label=mask.label,
        values=found,
        counts=counts[found],
        strange=strange,
        size=(values.shape[0], values.shape[1]),
        wide=stored.dtype != np.uint8,
        alpha=_has_alpha(file),
        lossy=file.suffix.lower() in LOSSY,
        colour=colour,
        fits=fits,
    )
    return facts, values


def _counts(values: Values, inside: NDArray[np.bool_] | None = None) -> NDArray[np.intp]:
    """How many pixels of [H, W] have each value, some rows at a time: numpy counts in eight bytes a pixel."""
    total = np.zeros(int(values.max(initial=0)) + 1, dtype=np.intp)
    rows = max(1, AT_ONCE // values.shape[1])
    for start in range(0, len(values), rows):
        part = values[start : start + rows]
        part = part.ravel() if inside is None else part[inside[start : start + rows]]
        total += np.bincount(part, minlength=len(total))
    return total


def segments(seen: Survey, volume: "Volume", mask: MaskFile) -> Pixels:
    """Class ids [I · J, K, 1] of a DICOM Segmentation object on its volume's grid; of multilabel 0 and 1 of a class.

    Where no classes are named they are the object's own, so that what else is wrong with it is found.
    """
    from segkit.medical.dicom_seg_read import read_seg

    description = seen.description
    if description.classes:
        classes = named_classes(description)
        task, background = task_of(description, classes), background_of(description, classes)
        found = read_seg(mask.path, volume, classes, task=task, background=background)
    else:
        found = read_seg(mask.path, volume)
    labels = found.labels[found.names.index(mask.label)] if mask.label else found.labels
    return labels.reshape(-1, labels.shape[-1], 1)


def ignored(values: Values, facts: MaskFacts, seen: Survey) -> NDArray[np.bool_]:
    """Where a mask [H, W] says that a pixel doesn't count, as far as one mask can tell."""
    where = np.zeros(values.shape, dtype=bool)
    if not set(facts.values.tolist()) <= {0, IGNORE}:  # then 255 may well be the foreground
        where |= values == IGNORE
    if seen.description.ignore_index is not None:
        where |= values == seen.description.ignore_index
    return where


def _has_alpha(file: Path) -> bool:
    """Whether a file is a PNG with an alpha channel, which its colour type in byte 25 says."""
    with file.open("rb") as opened:
        head = opened.read(26)
    return head.startswith(b"\x89PNG") and head[25:26] != b"" and head[25] in ALPHA
