"""Whose a Segmentation object is, and what it was made from: patient, study, images, identifiers and dates."""

import re
import uuid
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path

from highdicom.seg import Segmentation
from pydicom import Dataset
from pydicom.datadict import keyword_for_tag
from pydicom.uid import SecondaryCaptureImageStorage

from segkit.errors import DataError
from segkit.medical.dicom_frames import Frame
from segkit.medical.dicom_tags import named

LONGEST = 64  # characters of a DICOM LO
STANDS_IN = "2.25."
"""What the identifiers of stand-ins for frames begin with; the frame's number follows, counted from 1."""
UNDATED = ("19000101", "000000")
"""Of masks for images without any date: an object has to have one, and today would tell two runs apart."""

PATIENT = 0x0010
DESCRIBING = (0x0008, PATIENT, 0x0012, 0x0020, 0x0032, 0x0038, 0x0040)
"""Groups of tags that patients and studies are described by."""


def refer(seg: Segmentation, frames: Sequence[Frame]) -> None:
    """Let the object refer to the images where it refers to what stood in for them."""
    instances = list({str(frame.dataset.SOPInstanceUID): frame.dataset for frame in frames}.values())
    seg.SourceImageSequence = [_reference(dataset) for dataset in instances]
    seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence = [_reference(dataset) for dataset in instances]
    items = [_named(of_frame) for of_frame in seg.PerFrameFunctionalGroupsSequence]
    for item in {id(item): item for item in items}.values():  # the frames of a plane share theirs
        frame = frames[_slice_of(item)]
        item.update(_reference(frame.dataset))
        if frame.several:
            item.ReferencedFrameNumber = frame.number


def slices_of(seg: Segmentation) -> list[int]:
    """Which slice each frame of an object is of, as long as it refers to what stands in for the images."""
    return [_slice_of(_named(of_frame)) for of_frame in seg.PerFrameFunctionalGroupsSequence]


def _named(of_frame: Dataset) -> Dataset:
    """A frame's reference to what it was made from."""
    reference: Dataset = of_frame.DerivationImageSequence[0].SourceImageSequence[0]
    return reference


def _slice_of(reference: Dataset) -> int:
    return int(reference.ReferencedSOPInstanceUID.removeprefix(STANDS_IN)) - 1


def _reference(dataset: Dataset) -> Dataset:
    reference = Dataset()
    reference.ReferencedSOPClassUID = dataset.SOPClassUID
    reference.ReferencedSOPInstanceUID = dataset.SOPInstanceUID
    return reference


def identify(seg: Segmentation, source: Dataset, content: str, path: Path) -> None:
    """Patient and study as the images have them; dates, and what highdicom drew at random, from the content.

    Raises:
        DataError: what the images say of the patient can't be read; it names the tag and ``path``, where they are.
    """
    known = _known(source, path)
    texts = [seg.SeriesDescription, *(segment.SegmentLabel for segment in seg.SegmentSequence)]
    if not all(text.isascii() for text in texts):  # the images' character set may lack a letter
        known.decode()
        known.SpecificCharacterSet = "ISO_IR 192"
    if known.get("SpecificCharacterSet"):
        seg.SpecificCharacterSet = known.SpecificCharacterSet
    known.SOPClassUID = SecondaryCaptureImageStorage  # one that highdicom knows the parts of, as it may not the images'
    seg.copy_patient_and_study_information(known)
    if source.get("TimezoneOffsetFromUTC"):
        seg.TimezoneOffsetFromUTC = source.TimezoneOffsetFromUTC
    for keyword, value in zip(("Date", "Time"), _moment(source), strict=True):
        setattr(seg, f"Content{keyword}", value)
        setattr(seg, f"Series{keyword}", value)
    for now in ("InstanceCreationDate", "InstanceCreationTime"):  # as highdicom 0.28 has them
        seg.pop(now, None)
    for equipment in seg.get("ContributingEquipmentSequence") or []:
        equipment.pop("ContributionDateTime", None)
    dimensions = uid_of(content, "dimensions")
    for item in (*seg.DimensionOrganizationSequence, *seg.DimensionIndexSequence):
        item.DimensionOrganizationUID = dimensions


def _known(source: Dataset, path: Path) -> Dataset:
    """A copy of what can be read of the tags that patients and studies are described by."""
    known = Dataset()
    for tag in source.keys():  # noqa: SIM118 - without it, values that can't be read are errors
        if tag.group in DESCRIBING:
            try:
                element = source[tag]
            except Exception as error:  # pydicom converts values when they are asked for, and raises what it likes
                if tag.group == PATIENT:
                    tag_name = named(keyword_for_tag(tag))
                    raise DataError(f"{path}: {tag_name} is damaged; export the images again") from error
                continue
            known.add(deepcopy(element))
    return known


def _moment(source: Dataset) -> tuple[str, str]:
    """Date and time of the images."""
    for of_what in ("Content", "Acquisition", "Series", "Study"):
        date, time = (str(source.get(of_what + part) or "") for part in ("Date", "Time"))
        if re.fullmatch(r"\d{8}", date):
            return date, time if re.fullmatch(r"\d{6}(\.\d{1,6})?", time) else UNDATED[1]
    return UNDATED


def series_number(source: Dataset) -> int:
    """1000 more than the images'."""
    number = str(source.get("SeriesNumber") or 0)
    return 1000 + int(number) if re.fullmatch(r"\d{1,9}", number) else 1000


def uid_of(content: str, part: str) -> str:
    """An identifier for a part of the object, from a digest of what it is made from."""
    return f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, f'segkit {part} {content}').int}"


def dicom_text(words: str) -> str:
    """As much of it as DICOM takes."""
    return "".join(c if c.isprintable() and c != "\\" else "_" for c in words)[:LONGEST].strip() or "unnamed"
