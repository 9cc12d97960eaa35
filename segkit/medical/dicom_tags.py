"""Values of DICOM tags as plain Python ones; what can't be read as such is an error that doesn't quote it."""

import logging
import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydicom import Dataset
from pydicom.datadict import tag_for_keyword

from segkit.errors import DataError
from segkit.medical.dicom_frames import group_of

GREY = ("MONOCHROME1", "MONOCHROME2")
"""What the tag of the photometric interpretation says of images of one channel, whose numbers are intensities."""

GROUPS = {
    "ImagePositionPatient": "PlanePositionSequence",
    "ImageOrientationPatient": "PlaneOrientationSequence",
    **dict.fromkeys(("PixelSpacing", "SliceThickness", "SpacingBetweenSlices"), "PixelMeasuresSequence"),
    **dict.fromkeys(("RescaleSlope", "RescaleIntercept"), "PixelValueTransformationSequence"),
    **dict.fromkeys(("WindowCenter", "WindowWidth", "VOILUTFunction"), "FrameVOILUTSequence"),
}
"""The functional group that says it of a frame, in objects of many frames."""

TELLING_APART: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("EchoTime", ()),
    ("EffectiveEchoTime", ("MREchoSequence",)),
    ("EchoNumbers", ()),
    ("InversionTime", ()),
    ("TemporalPositionIdentifier", ()),
    ("TemporalPositionIndex", ("FrameContentSequence",)),
    ("TriggerTime", ()),
    ("NominalCardiacTriggerDelayTime", ("CardiacSynchronizationSequence",)),
    ("NominalPercentageOfCardiacPhase", ("CardiacSynchronizationSequence",)),
    ("FrameReferenceTime", ()),
    ("DiffusionBValue", ()),
    ("DiffusionBValue", ("MRDiffusionSequence",)),
    ("DiffusionGradientOrientation", ()),
    ("DiffusionGradientOrientation", ("MRDiffusionSequence", "DiffusionGradientDirectionSequence")),
    ("SequenceName", ()),
    ("FlipAngle", ()),
    ("ImageType", ()),
    ("FrameType", ("MRImageFrameTypeSequence",)),
    ("FrameType", ("CTImageFrameTypeSequence",)),
    ("ComplexImageComponent", ("MRImageFrameTypeSequence",)),
    ("ConvolutionKernel", ()),
    ("KVP", ()),
    ("AcquisitionNumber", ()),
    ("FrameAcquisitionNumber", ("FrameContentSequence",)),
    ("StackID", ("FrameContentSequence",)),
    ("AcquisitionTime", ()),
)
"""Tags by which images at one place differ, those that mean most first; within which functional group, if in any."""


def quiet() -> None:
    """Keep pydicom's remarks on tags off the console: what matters of them is said in our own one line.

    For good and not within a block, because filters put back by one thread would be another's.
    """
    warnings.filterwarnings("ignore", module=r"pydicom\.")
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)


def named(keyword: str) -> str:
    """A tag as people look for it: ``PixelSpacing (0028,0030)``."""
    tag = tag_for_keyword(keyword) or 0
    return f"{keyword} ({tag >> 16:04X},{tag & 0xFFFF:04X})"


def value_of(dataset: Dataset, keyword: str, path: Path, frame: int | None = None) -> Any:
    """A tag's value, of a frame (from 0) by its functional group where it has one; None where it is absent or empty."""
    try:
        item = None
        if frame is not None and keyword in GROUPS:
            item = group_of(dataset, frame + 1, GROUPS[keyword])
        value = None if item is None else item.get(keyword)
        if value is None:
            value = dataset.get(keyword)
    except Exception as error:  # pydicom converts values when they are asked for, and raises what it likes
        raise DataError(f"{path}: {named(keyword)} is damaged; export the file again") from error
    return None if value is None or value == "" or value == [] else value


def text_of(dataset: Dataset, keyword: str, path: Path) -> str:
    """A tag's value as a text, "" where it is absent; the first of several."""
    value = value_of(dataset, keyword, path)
    if isinstance(value, Sequence) and not isinstance(value, str):
        value = value[0]
    return "" if value is None else str(value).strip()


def numbers_of(
    dataset: Dataset, keyword: str, count: int, path: Path, frame: int | None = None
) -> tuple[float, ...] | None:
    """A tag's ``count`` finite numbers; None where it is absent or empty; DataError where they are others."""
    value = value_of(dataset, keyword, path, frame)
    if value is None:
        return None
    try:
        numbers = tuple(float(each) for each in (value if isinstance(value, Sequence) else [value]))
    except (TypeError, ValueError):
        numbers = ()
    if isinstance(value, str) or len(numbers) != count or not all(map(math.isfinite, numbers)):
        wanted = "a number" if count == 1 else f"{count} numbers"
        raise DataError(f"{path}: {named(keyword)} is not {wanted}; export the file again")
    return numbers


def number_of(dataset: Dataset, keyword: str, path: Path, frame: int | None = None) -> float | None:
    """A tag's number; None where it is absent or empty."""
    numbers = numbers_of(dataset, keyword, 1, path, frame)
    return None if numbers is None else numbers[0]


def count_of(dataset: Dataset, keyword: str, path: Path, default: int = 0) -> int:
    """A tag's whole number; ``default`` where it is absent; DataError where it isn't one, or below 1."""
    value = number_of(dataset, keyword, path)
    if value is None and default:
        return default
    if value is None or value < 1 or value != int(value):
        raise DataError(f"{path}: {named(keyword)} is not a whole number from 1 on; export the file again")
    return int(value)
