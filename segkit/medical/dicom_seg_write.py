"""Masks as a DICOM Segmentation object, each frame on the slice that it was made from."""

import json
import logging
import warnings
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import highdicom
import numpy as np
from highdicom.color import CIELabColor
from highdicom.seg import SegmentAlgorithmTypeValues, Segmentation, SegmentationTypeValues, SegmentDescription
from highdicom.sr import CodedConcept
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import SecondaryCaptureImageStorage

import segkit
from segkit.data.volume import Volume
from segkit.errors import DataError, UsageError
from segkit.files import atomic_path
from segkit.medical.dicom_codes import property_of
from segkit.medical.dicom_frames import Frame, frames_of
from segkit.medical.dicom_seg_identity import (
    LONGEST,
    STANDS_IN,
    dicom_text,
    identify,
    refer,
    series_number,
    slices_of,
    uid_of,
)
from segkit.medical.dicom_tags import named, quiet, value_of
from segkit.task import Task, output_maps

PACKED = 8  # pixels of a byte: smaller frames are packed wrongly by highdicom (0.28)
NEEDED = ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")


def check_segments(classes: Sequence[str], task: Task, background: int | None) -> None:
    """Raise UsageError where a class can't name a segment."""
    for index in _shown(classes, task, background):
        _segment_label(classes[index])


def why_no_seg(volume: Volume) -> str | None:
    """Why there can be no Segmentation object for a volume; None where there can."""
    try:
        _sources(volume)
    except DataError as error:
        return str(error)
    return None


def write_seg(
    path: str | Path,
    labels: NDArray[np.uint8],
    volume: Volume,
    *,
    classes: Sequence[str],
    task: Task,
    background: int | None = None,
    probabilities: NDArray[np.float32] | None = None,
    colours: NDArray[np.uint8] | None = None,
    model_name: str,
    model_digest: str,
    members: int = 1,
) -> None:
    """Write a Segmentation object: a segment a class, on the very planes of the images that the volume was read from.

    Patient and study are the images'. Identifiers, dates and times come from the images and from what is written, so
    that the same masks make the same bytes, and others another object. Frames without a marked pixel are left out.

    Args:
        labels: uint8 [I, J, K], class ids, or 0 and 1 if ``binary``; [C, I, J, K] of 0 and 1 if ``multilabel``.
        volume: read from DICOM.
        classes: their names; of ``binary`` the last is the foreground.
        background: the class that gets no segment.
        probabilities: float32 [C, I, J, K] in 0..1, one map if ``binary``: makes the object fractional, in steps of
            1/255, with these in place of the labels.
        colours: RGB that viewers are asked to show, uint8 [labels, 3], by label.
        model_name, model_digest: what made the masks.
        members: how many networks agreed on them.

    Raises:
        DataError: there can be no such object, as :func:`why_no_seg` tells beforehand, or a patient's tag is damaged.
        UsageError: a class can't name a segment, or the path can't be written to.
    """
    frames = _sources(volume)
    shown = _shown(classes, task, background)
    names = [_segment_label(classes[index]) for index in shown]
    fractional = probabilities is not None
    if probabilities is None:
        planes = _label_planes(labels, volume, task, len(classes), shown)
    else:
        planes = _probability_planes(probabilities, volume, output_maps(task, len(classes)), shown, task)
    facts = {
        "program": [segkit.__version__, highdicom.__version__],
        "images": [(str(frame.dataset.SOPInstanceUID), frame.number) for frame in frames],
        "names": names,
        "colours": None if colours is None else colours.tolist(),
        "model": [model_name, model_digest, members],
        "values": [str(planes.dtype), planes.shape, sha256(planes.data).hexdigest()],
    }
    content = sha256(json.dumps(facts).encode()).hexdigest()
    model = dicom_text(model_name)
    made_by = highdicom.AlgorithmIdentificationSequence(
        name=dicom_text(f"segkit {model_name}"),
        family=codes.cid7162.ArtificialIntelligence,
        version=dicom_text(f"{segkit.__version__} {model_digest}"),
        source="segkit",
        parameters={"members": str(members)},
    )
    ids = (1,) if task == "binary" else shown
    described = [
        _describe(number, name, made_by, None if colours is None else colours[index])
        for number, (name, index) in enumerate(zip(names, ids, strict=True), start=1)
    ]
    _quiet()
    seg = Segmentation(
        source_images=[_stand_in(frame, number, volume.located) for number, frame in enumerate(frames, start=1)],
        pixel_array=(planes > 0).astype(np.uint8) if fractional else planes,
        segmentation_type=SegmentationTypeValues.FRACTIONAL if fractional else SegmentationTypeValues.BINARY,
        segment_descriptions=described,
        series_instance_uid=uid_of(content, "series"),
        series_number=series_number(frames[0].dataset),
        sop_instance_uid=uid_of(content, "instance"),
        instance_number=1,
        manufacturer="segkit",
        manufacturer_model_name=model,
        software_versions=segkit.__version__,
        device_serial_number=dicom_text(model_digest),
        content_label="SEGMENTATION",
        content_description="Probabilities" if fractional else "Masks",
        series_description=dicom_text(f"segkit {model_name}"),
    )
    if fractional:
        _fill(seg, planes)
    refer(seg, frames)
    identify(seg, frames[0].dataset, content, volume.path)
    with atomic_path(path) as temporary:
        _save(seg, temporary)


def _save(seg: Segmentation, path: Path) -> None:
    try:
        seg.save_as(path, enforce_file_format=True)
    except OSError as error:  # of one within a sequence pydicom makes another, of a whole traceback and no number
        cause = error
        while cause.errno is None and isinstance(cause.__cause__, OSError):
            cause = cause.__cause__
        raise OSError(cause.errno, cause.strerror or "it failed") from error


def _quiet() -> None:
    """Keep what highdicom remarks on the images' tags off the console, where nobody could change anything about it."""
    quiet()
    warnings.filterwarnings("ignore", module=r"highdicom\.")
    logging.getLogger("highdicom").setLevel(logging.CRITICAL)


def _sources(volume: Volume) -> tuple[Frame, ...]:
    """The frame of each slice, once it is sure that they can be referred to."""
    frames = frames_of(volume)
    if frames is None:
        raise DataError(f"{volume.path}: DICOM Segmentation objects are for images that are DICOM themselves")
    for frame in frames:
        needed = (*NEEDED, "FrameOfReferenceUID") if volume.located else NEEDED
        lacking = [keyword for keyword in needed if not value_of(frame.dataset, keyword, volume.path)]
        if lacking:
            raise DataError(
                f"{volume.path}: {named(lacking[0])} is missing or empty; a DICOM Segmentation object has to repeat "
                "it: export the images again with it, or convert them to NIfTI"
            )
    if volume.geometry.shape[0] * volume.geometry.shape[1] < PACKED:
        raise DataError(f"{volume.path}: images of fewer than {PACKED} pixels have no DICOM Segmentation objects here")
    if not volume.located and len(frames) > 1:
        raise DataError(
            f"{volume.path}: the images don't say where in the patient they are, and a DICOM Segmentation object "
            "of several frames has to; export its frames one by one"
        )
    return frames


def _label_planes(
    labels: NDArray[np.uint8], volume: Volume, task: Task, classes: int, shown: Sequence[int]
) -> NDArray[np.uint8]:
    """Segment numbers [K, J, I], 0 for none; for ``multilabel`` 0 and 1 [K, J, I, segments]."""
    grid = volume.geometry.shape
    expected = (classes, *grid) if task == "multilabel" else grid
    if labels.shape != expected or labels.dtype != np.uint8:
        raise ValueError(f"labels {labels.dtype} {labels.shape}; expected uint8 {expected}")
    highest = max(1, classes - 1) if task == "multiclass" else 1
    if labels.size and labels.max() > highest:
        raise ValueError(f"labels up to {labels.max()}; expected 0..{highest}")
    if task == "multilabel":
        return np.ascontiguousarray(labels[list(shown)].transpose(3, 2, 1, 0))
    number = np.zeros(256, np.uint8)
    number[[1] if task == "binary" else list(shown)] = np.arange(1, len(shown) + 1)
    return np.ascontiguousarray(number[labels.transpose(2, 1, 0)])


def _probability_planes(
    probabilities: NDArray[np.float32], volume: Volume, maps: int, shown: Sequence[int], task: Task
) -> NDArray[np.uint8]:
    """The maps of the segments in 255ths, [K, J, I, segments]."""
    expected = (maps, *volume.geometry.shape)
    if probabilities.shape != expected:
        raise ValueError(f"probabilities {probabilities.shape}; expected {expected}")
    kept = [0] if task == "binary" else shown
    planes = np.empty((*volume.geometry.shape[::-1], len(kept)), np.uint8)
    for number, index in enumerate(kept):
        found = np.asarray(probabilities[index], np.float32).T
        if not (found.min() >= -1e-4 and found.max() <= 1 + 1e-4):  # also where one is not a number
            raise ValueError("probabilities must lie in 0..1")
        planes[..., number] = np.rint(found.clip(0, 1) * 255)
    return planes


def _fill(seg: Segmentation, planes: NDArray[np.uint8]) -> None:
    """Put 255ths [K, J, I, segments] into the frames of an object that was made of where they aren't 0.

    highdicom would do it from numbers between 0 and 1, and sort them all on its way: minutes and gigabytes for a scan.
    """
    if planes.shape[3] > 1:
        segments = [
            int(of_frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber)
            for of_frame in seg.PerFrameFunctionalGroupsSequence
        ]
        seg.SegmentsOverlap = "UNDEFINED"  # as highdicom has it: probabilities of several classes lie over one another
    else:
        segments = [1] * int(seg.NumberOfFrames)
    frames = zip(slices_of(seg), segments, strict=True)
    packed = b"".join(planes[k, :, :, segment - 1].tobytes() for k, segment in frames)
    seg.PixelData = packed + bytes(len(packed) % 2)


def _describe(
    number: int, name: str, made_by: highdicom.AlgorithmIdentificationSequence, colour: NDArray[np.uint8] | None
) -> SegmentDescription:
    found = property_of(name)
    kind = CodedConcept(found.kind[0], "SCT", found.kind[1])
    if found.side is not None:
        kind.SegmentedPropertyTypeModifierCodeSequence = [CodedConcept(found.side[0], "SCT", found.side[1])]
    return SegmentDescription(
        segment_number=number,
        segment_label=name,
        segmented_property_category=CodedConcept(found.category[0], "SCT", found.category[1]),
        segmented_property_type=kind,
        algorithm_type=SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=made_by,
        display_color=None if colour is None else _lab(colour),
    )


def _lab(colour: NDArray[np.uint8]) -> CIELabColor:
    """RGB as CIE L*a*b*, white being the screen's (D65), as viewers of these objects have it."""
    share = colour.astype(np.float64) / 255
    linear = np.where(share > 0.04045, ((share + 0.055) / 1.055) ** 2.4, share / 12.92)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    relative = to_xyz @ linear / to_xyz.sum(axis=1)
    x, y, z = np.where(relative > 0.008856, np.cbrt(relative), 7.787 * relative + 16 / 116)
    return CIELabColor(float(116 * y - 16), float(500 * (x - y)), float(200 * (y - z)))


def _stand_in(frame: Frame, number: int, located: bool) -> Dataset:
    """What highdicom needs to know of a frame, whatever kind of object it is in, as if it were an object of its own.

    Names and dates are left empty: they are copied as they are later, whatever highdicom may think of them. The
    spacing between slices is left to highdicom, which takes it from their places, not from what scanners say of it.
    """
    stand_in = Dataset()
    stand_in.SOPClassUID = SecondaryCaptureImageStorage
    stand_in.SOPInstanceUID = f"{STANDS_IN}{number}"
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "Rows", "Columns"):
        setattr(stand_in, keyword, frame.dataset[keyword].value)
    for keyword in ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID"):
        setattr(stand_in, keyword, "")
    stand_in.Modality = "OT"
    stand_in.StudyDate = stand_in.StudyTime = None
    if (spacing := frame.get("PixelMeasuresSequence", "PixelSpacing")) is not None:
        stand_in.PixelSpacing = spacing
    stand_in.SliceThickness = frame.get("PixelMeasuresSequence", "SliceThickness") or None
    if located:
        stand_in.FrameOfReferenceUID = frame.dataset.FrameOfReferenceUID
        stand_in.PositionReferenceIndicator = frame.dataset.get("PositionReferenceIndicator")
        stand_in.ImagePositionPatient = frame.get("PlanePositionSequence", "ImagePositionPatient")
        stand_in.ImageOrientationPatient = frame.get("PlaneOrientationSequence", "ImageOrientationPatient")
    return stand_in


def _shown(classes: Sequence[str], task: Task, background: int | None) -> list[int]:
    """The classes that get a segment."""
    return [len(classes) - 1] if task == "binary" else [i for i in range(len(classes)) if i != background]


def _segment_label(name: str) -> str:
    if not name.strip() or len(name) > LONGEST or "\\" in name or not name.isprintable():
        raise UsageError(
            f"class {name!r} can't name a DICOM segment; rename it: up to {LONGEST} characters, without a backslash"
        )
    return name
