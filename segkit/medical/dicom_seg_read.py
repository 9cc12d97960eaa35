"""Masks from a DICOM Segmentation object, on the grid of the images that they are for."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.pixels.utils import iter_pixels
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, SegmentationStorage

from segkit.data.masks import IGNORE
from segkit.data.volume import Volume
from segkit.errors import DataError
from segkit.medical.dicom_frames import group_of
from segkit.medical.dicom_seg_place import Placed, place
from segkit.medical.dicom_tags import named, quiet
from segkit.nearest import nearest
from segkit.task import Task

LABEL_MAPS = "1.2.840.10008.5.1.4.1.1.66.7"
"""The class of Segmentation objects whose pixels are the segments' numbers; younger than pydicom 3.0."""
Marked = tuple[int, int, NDArray[np.bool_]]
"""A frame counted from 0, the number of a segment, and its pixels [rows, columns]."""


@dataclass(frozen=True, eq=False)
class SegMasks:
    """What a Segmentation object says of a volume.

    Attributes:
        labels: uint8 [I, J, K], indices of ``names``; [C, I, J, K] of 0 and 1 where they may overlap.
        names: of the classes.
    """

    labels: NDArray[np.uint8]
    names: tuple[str, ...]


def read_seg(
    path: str | Path,
    volume: Volume,
    classes: Sequence[str] | None = None,
    *,
    task: Task = "multiclass",
    background: int | None = 0,
) -> SegMasks:
    """Masks on a volume's grid; segments of one label are one class, of fractional objects what is half or more.

    Frames go where they say they are, whatever their order and direction; where they don't say it, to the images that
    they name. Where there is no frame, nothing is marked.

    Args:
        path: a Segmentation object, binary, fractional or of label maps.
        volume: of the images.
        classes: what the segments' labels are to be among; without it, they are the background and then the object's
            labels in the order of their numbers, or only these if ``multilabel``.
        task: ``multilabel`` keeps classes apart, [C, I, J, K]; otherwise they may not overlap.
        background: the class of voxels in no segment; None: they get 255 and are learned from by nobody.

    Raises:
        DataError: the file can't be read; it is on another grid or in another frame of reference; a segment is none of
            the classes; two overlap where they may not.
    """
    path = Path(path)
    quiet()
    seg = _read(path)
    labels = _labels(seg, path)
    names = _names(labels.values(), classes, task)
    for label in labels.values():
        if label not in names:
            raise DataError(f"{path}: segment {label!r} is none of the classes{nearest(label, names)}")
    if len(names) > 2 and task == "binary":
        raise DataError(f"{path}: {len(names) - 1} segments; a binary mask has one class besides the background")
    placed = place(seg, volume, path)
    marked = _marked(seg, labels, path)
    if task == "multilabel":
        return _apart(placed, marked, labels, names)
    return _together(placed, marked, labels, names, background, path)


def _read(path: Path) -> Dataset:
    try:
        seg = pydicom.dcmread(path)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except Exception as error:  # pydicom raises what it likes; its words may quote the patient's tags
        raise DataError(f"{path}: can't be read as DICOM; copy or export it again") from error
    if seg.get("SOPClassUID") not in (SegmentationStorage, LABEL_MAPS):
        raise DataError(f"{path}: isn't a DICOM Segmentation object")
    for keyword in ("SegmentSequence", "Rows", "Columns", "PixelData", "SegmentationType"):
        if not seg.get(keyword):
            raise DataError(f"{path}: {named(keyword)} is missing or empty; export it again")
    if seg.SegmentationType == "FRACTIONAL" and not seg.get("MaximumFractionalValue"):
        raise DataError(f"{path}: {named('MaximumFractionalValue')} is missing or empty; export it again")
    return seg


def _labels(seg: Dataset, path: Path) -> dict[int, str]:
    """Of each segment's number what it is called."""
    labels = {}
    for segment in seg.SegmentSequence:
        number, label = segment.get("SegmentNumber"), str(segment.get("SegmentLabel") or "").strip()
        if number is None or not label:
            raise DataError(f"{path}: a segment has no number or no label; export it again")
        if int(number) or seg.SegmentationType != "LABELMAP":  # of label maps, 0 is what is in none
            labels[int(number)] = label
    return dict(sorted(labels.items()))


def _names(labels: Iterable[str], classes: Sequence[str] | None, task: Task) -> tuple[str, ...]:
    if classes is not None:
        return ("background", *classes) if task == "binary" and len(classes) == 1 else tuple(classes)
    found = tuple(dict.fromkeys(labels))
    return found if task == "multilabel" else ("background", *(name for name in found if name != "background"))


def _marked(seg: Dataset, labels: Mapping[int, str], path: Path) -> Iterator[Marked]:
    """Each frame, or each segment of each frame of label maps."""
    fractional = seg.SegmentationType == "FRACTIONAL"
    try:
        for number, pixels in enumerate(_pixels(seg)):
            if seg.SegmentationType == "LABELMAP":
                shown = {int(segment): pixels == segment for segment in np.unique(pixels[pixels > 0])}
            else:
                of_segment = group_of(seg, number + 1, "SegmentIdentificationSequence") or Dataset()
                half = pixels.astype(np.float32) * 2 >= seg.MaximumFractionalValue if fractional else pixels > 0
                shown = {int(of_segment.get("ReferencedSegmentNumber") or 0): half}
            for segment, where in shown.items():
                if segment not in labels:
                    raise DataError(f"{path}: frame {number + 1} shows no segment that is described; export it again")
                yield number, segment, where
    except DataError:
        raise
    except Exception as error:  # decoders raise what they like
        raise DataError(f"{path}: its pixels are damaged, or compressed in a way not read here") from error


def _pixels(seg: Dataset) -> Iterator[NDArray[Any]]:
    """The frames as they are stored, [rows, columns].

    Single bits are taken apart here: pydicom (3.0) can't where frames don't begin with a byte, but all at once.
    """
    if seg.BitsAllocated > 1 or seg.file_meta.TransferSyntaxUID not in (ExplicitVRLittleEndian, ImplicitVRLittleEndian):
        yield from iter_pixels(seg, raw=True)
        return
    packed, size = np.frombuffer(seg.PixelData, np.uint8), seg.Rows * seg.Columns
    for first in range(0, int(seg.get("NumberOfFrames") or 1) * size, size):
        bits = np.unpackbits(packed[first // 8 : -(-(first + size) // 8)], bitorder="little")
        yield bits[first % 8 : first % 8 + size].reshape(seg.Rows, seg.Columns)


def _apart(
    placed: Placed,
    marked: Iterable[Marked],
    labels: Mapping[int, str],
    names: Sequence[str],
) -> SegMasks:
    masks = np.zeros((len(names), *placed.shape), np.uint8)
    for number, segment, where in marked:
        masks[names.index(labels[segment])][placed.voxels(number, where)] = 1
    return SegMasks(masks, tuple(names))


def _together(
    placed: Placed,
    marked: Iterable[Marked],
    labels: Mapping[int, str],
    names: Sequence[str],
    background: int | None,
    path: Path,
) -> SegMasks:
    if len(names) > IGNORE:
        raise DataError(f"{path}: {len(names)} classes; one mask holds at most {IGNORE}")
    masks = np.full(placed.shape, IGNORE, np.uint8)
    for number, segment, where in marked:
        voxels, this = placed.voxels(number, where), names.index(labels[segment])
        other = next((int(n) for n in np.unique(masks[voxels]) if n not in (IGNORE, this)), None)
        if other is not None:
            raise DataError(
                f"{path}: segments {names[other]!r} and {names[this]!r} overlap; "
                "make the task multilabel, or take the voxels of one out of the other"
            )
        masks[voxels] = this
    if background is not None:
        masks[masks == IGNORE] = background
    return SegMasks(masks, tuple(names))
