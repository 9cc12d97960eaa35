"""Made-up DICOM series: written for tests, whole enough for other libraries to take them as source images."""

import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import openjpeg.utils as openjpeg
from numpy.typing import NDArray
from PIL import Image
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels import pixel_array
from pydicom.uid import (
    UID,
    ComputedRadiographyImageStorage,
    CTImageStorage,
    EnhancedCTImageStorage,
    EnhancedMRImageStorage,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    MRImageStorage,
    PositronEmissionTomographyImageStorage,
    RLELossless,
    SecondaryCaptureImageStorage,
    UltrasoundImageStorage,
    generate_uid,
)

SECRETS = ("Quennell^Zebulon", "PID-77120", "19310217", "20140503", "ACC-9917", "Dr^Oberholtzer", "Knee of Zebulon")
"""What tells who the patient is in these files: no error, note or name may hold any of it."""

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)
SAGITTAL = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)

CLASSES = {
    "MR": MRImageStorage,
    "CT": CTImageStorage,
    "PT": PositronEmissionTomographyImageStorage,
    "CR": ComputedRadiographyImageStorage,
    "US": UltrasoundImageStorage,
    "OT": SecondaryCaptureImageStorage,
}
ENHANCED = {"MR": EnhancedMRImageStorage, "CT": EnhancedCTImageStorage}


def pattern(shape: Sequence[int], dtype: str = "int16", seed: int = 0) -> NDArray[np.generic]:
    """Stored values [I, J, K] (or with a further axis for colour) that differ at nearly every voxel."""
    low, high = (0, 256) if np.dtype(dtype).itemsize == 1 else (0, 4096)
    if np.dtype(dtype).kind == "i":
        low = -(high // 4)
    return np.random.default_rng(seed).integers(low, high, tuple(shape)).astype(dtype)


def write_series(
    folder: Path,
    values: NDArray[np.generic] | None = None,
    *,
    shape: tuple[int, int, int] = (7, 5, 4),
    dtype: str = "int16",
    spacing: tuple[float, float] = (0.8, 1.1),
    orientation: Sequence[float] = AXIAL,
    origin: Sequence[float] = (-20.5, -31.25, 12.0),
    slice_step: float | Sequence[float] = 2.5,
    patient_position: str = "HFS",
    modality: str = "MR",
    slope: float | Sequence[float] | None = None,
    intercept: float | Sequence[float] | None = None,
    photometric: str = "MONOCHROME2",
    bits_stored: int | None = None,
    transfer_syntax: UID = ExplicitVRLittleEndian,
    shuffle: int | None = None,
    prefix: str = "IM",
    suffix: str = ".dcm",
    study: str = "study",
    series_uid: str | None = None,
    series_number: int = 3,
    frame_of_reference: str | None = None,
    multiframe: bool = False,
    change: Callable[[Dataset, int], None] | None = None,
    **tags: object,
) -> list[Path]:
    """Write a series and return its files in the order of K; one file with all frames where ``multiframe``.

    Args:
        folder: made where it is missing.
        values: stored values [I, J, K] or [I, J, K, 3], I along columns; else :func:`pattern` of ``shape``, ``dtype``.
        spacing: millimetres between columns (along I) and between rows (along J).
        orientation: as ImageOrientationPatient has it: where I leads to, where J leads to, LPS.
        origin: the centre of voxel (0, 0, 0), LPS.
        slice_step: millimetres along the normal (I × J), or the whole step in LPS.
        slope, intercept: of rescaling; of each slice where there are several; no tag where None.
        shuffle: file names, InstanceNumbers and the order of frames follow no order, by this seed.
        study: names the study: its UID, and that of the frame of reference unless that is named itself.
        change: called with the data set and k (0 where ``multiframe``) before it is written.
        tags: further tags of every data set by keyword; None removes one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    values = pattern(shape, dtype) if values is None else values
    count = values.shape[2]
    order = np.arange(count) if shuffle is None else np.random.default_rng(shuffle).permutation(count)
    series_uid = series_uid or generate_uid(entropy_srcs=[study, modality, str(series_number)])
    step = np.asarray(slice_step, dtype=float)
    if step.ndim == 0:
        step = step * np.cross(orientation[:3], orientation[3:])
    places = [np.asarray(origin, dtype=float) + k * step for k in range(count)]
    slopes, intercepts = _each(slope, count), _each(intercept, count)

    def common(k: int) -> Dataset:
        dataset = _patient_and_study(study, series_uid, series_number, modality, patient_position)
        dataset.FrameOfReferenceUID = generate_uid(entropy_srcs=["frame", frame_of_reference or study])
        dataset.SOPInstanceUID = generate_uid(entropy_srcs=[series_uid, "multi" if multiframe else str(k)])
        dataset.InstanceNumber = int(order[k]) + 1
        return dataset

    datasets = []
    if multiframe:
        frames = np.argsort(order)  # frame n shows slice frames[n]
        dataset = common(0)
        dataset.SOPClassUID = ENHANCED[modality]
        dataset.NumberOfFrames = count
        _pixels(dataset, np.stack([_plane(values, k) for k in frames]), photometric, bits_stored)
        _functional_groups(
            dataset, frames, places, orientation, spacing, float(np.linalg.norm(step)), slopes, intercepts
        )
        datasets.append(dataset)
    else:
        for k in range(count):
            dataset = common(k)
            dataset.SOPClassUID = CLASSES[modality]
            dataset.ImagePositionPatient = [float(f"{number:.10g}") for number in places[k]]
            dataset.ImageOrientationPatient = [float(f"{number:.12g}") for number in orientation]
            dataset.PixelSpacing = [spacing[1], spacing[0]]
            dataset.SliceThickness = float(f"{np.linalg.norm(step):.8g}")
            if slopes[k] is not None or intercepts[k] is not None:
                dataset.RescaleSlope = 1 if slopes[k] is None else slopes[k]
                dataset.RescaleIntercept = 0 if intercepts[k] is None else intercepts[k]
            _pixels(dataset, _plane(values, k), photometric, bits_stored)
            datasets.append(dataset)

    paths = []
    for k, dataset in enumerate(datasets):
        for keyword, value in tags.items():
            if value is None:
                dataset.pop(keyword, None)
            else:
                setattr(dataset, keyword, value)
        if change is not None:
            change(dataset, k)
        paths.append(save(dataset, folder / f"{prefix}{order[k] + 1:04}{suffix}", transfer_syntax))
    return paths


def save(dataset: Dataset, path: Path, transfer_syntax: UID = ExplicitVRLittleEndian) -> Path:
    """Write a data set with its preamble, its pixels compressed as the transfer syntax says."""
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    if transfer_syntax in (JPEG2000Lossless, JPEGBaseline8Bit):
        frames = pixel_array(dataset, raw=True).reshape(-1, dataset.Rows, dataset.Columns, dataset.SamplesPerPixel)
        encode = _jpeg2000 if transfer_syntax == JPEG2000Lossless else _jpeg
        dataset.PixelData = encapsulate([encode(frame, dataset) for frame in frames])
        dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
        dataset.file_meta.TransferSyntaxUID = transfer_syntax
    elif transfer_syntax in (RLELossless, JPEGLSLossless):
        # GDCM's own encoder ends the process at pictures of an odd size.
        plugin = "pydicom" if transfer_syntax == RLELossless else "pyjpegls"
        dataset.compress(transfer_syntax, encoding_plugin=plugin, generate_instance_uid=False)
    else:
        dataset.file_meta.TransferSyntaxUID = transfer_syntax
        if not transfer_syntax.is_little_endian:
            dataset.PixelData = np.frombuffer(dataset.PixelData, f"u{dataset.BitsAllocated // 8}").byteswap().tobytes()
    order, implicit = transfer_syntax.is_little_endian, transfer_syntax.is_implicit_VR
    dataset.save_as(path, enforce_file_format=True, little_endian=order, implicit_vr=implicit)
    return path


def _jpeg2000(frame: NDArray[np.generic], dataset: Dataset) -> bytes:
    """Without loss; the encoder takes pictures of 32 × 32 and more."""
    # The colour transform would make it another photometric interpretation, YBR_RCT.
    return openjpeg.encode_array(frame.squeeze(), bits_stored=dataset.BitsStored, use_mct=False, codec_format=0)


def _jpeg(frame: NDArray[np.generic], dataset: Dataset) -> bytes:
    """Colour is given as RGB and becomes YBR_FULL_422."""
    buffer = io.BytesIO()
    picture = Image.fromarray(frame.squeeze())
    if dataset.SamplesPerPixel == 3:
        picture.save(buffer, "JPEG", quality=95, subsampling=1)
        dataset.PhotometricInterpretation = "YBR_FULL_422"
    else:
        picture.save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def _each(given: float | Sequence[float] | None, count: int) -> list[float | None]:
    return [given] * count if given is None or isinstance(given, int | float) else list(given)


def _plane(values: NDArray[np.generic], k: int) -> NDArray[np.generic]:
    """Slice k as DICOM stores it: [rows, columns, …]."""
    return np.ascontiguousarray(values[:, :, k].swapaxes(0, 1))


def _patient_and_study(study: str, series_uid: str, number: int, modality: str, patient_position: str) -> Dataset:
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "OTHER"]
    dataset.PatientName, dataset.PatientID, dataset.PatientBirthDate = SECRETS[:3]
    dataset.PatientSex = "O"
    dataset.StudyInstanceUID = generate_uid(entropy_srcs=["study", study])
    dataset.StudyDate = dataset.SeriesDate = dataset.AcquisitionDate = dataset.ContentDate = SECRETS[3]
    dataset.StudyTime = dataset.SeriesTime = dataset.AcquisitionTime = dataset.ContentTime = "101500"
    dataset.StudyID = "1"
    dataset.AccessionNumber = SECRETS[4]
    dataset.ReferringPhysicianName = SECRETS[5]
    dataset.StudyDescription = dataset.SeriesDescription = SECRETS[6]
    dataset.Modality = modality
    dataset.Manufacturer = "segkit tests"
    dataset.ManufacturerModelName = "pattern"
    dataset.DeviceSerialNumber = "0"
    dataset.SoftwareVersions = "1"
    dataset.SeriesInstanceUID = series_uid
    dataset.SeriesNumber = number
    dataset.PatientPosition = patient_position
    dataset.PositionReferenceIndicator = ""
    dataset.AcquisitionNumber = 1
    return dataset


def _pixels(dataset: Dataset, stored: NDArray[np.generic], photometric: str, bits_stored: int | None) -> None:
    """The image pixel module of [rows, columns], [frames, rows, columns] or either with three samples last."""
    colour = photometric in ("RGB", "YBR_FULL")
    bits = stored.dtype.itemsize * 8
    dataset.SamplesPerPixel = 3 if colour else 1
    if colour:
        dataset.PlanarConfiguration = 0
    dataset.PhotometricInterpretation = photometric
    dataset.Rows, dataset.Columns = stored.shape[-3:-1] if colour else stored.shape[-2:]
    dataset.BitsAllocated = bits
    dataset.BitsStored = bits_stored or bits
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(stored.dtype.kind == "i")
    data = stored.astype(stored.dtype.newbyteorder("<")).tobytes()
    dataset.add_new("PixelData", "OB" if bits == 8 else "OW", data + b"\0" * (len(data) % 2))


def _functional_groups(
    dataset: Dataset,
    frames: NDArray[np.intp],
    places: Sequence[NDArray[np.float64]],
    orientation: Sequence[float],
    spacing: tuple[float, float],
    thickness: float,
    slopes: Sequence[float | None],
    intercepts: Sequence[float | None],
) -> None:
    """What an enhanced object says of its frames: orientation and spacing once, place and rescaling for each."""
    organisation = generate_uid(entropy_srcs=["dimensions", dataset.SOPInstanceUID])
    dataset.DimensionOrganizationSequence = [_item(DimensionOrganizationUID=organisation)]
    dataset.DimensionIndexSequence = [
        _item(
            DimensionOrganizationUID=organisation,
            DimensionIndexPointer=0x00209057,  # InStackPositionNumber
            FunctionalGroupPointer=0x00209111,  # FrameContentSequence
        )
    ]
    shared = Dataset()
    shared.PlaneOrientationSequence = [_item(ImageOrientationPatient=[float(f"{n:.12g}") for n in orientation])]
    shared.PixelMeasuresSequence = [_item(PixelSpacing=[spacing[1], spacing[0]], SliceThickness=round(thickness, 8))]
    dataset.SharedFunctionalGroupsSequence = [shared]
    per_frame = []
    for k in frames:
        group = Dataset()
        group.FrameContentSequence = [
            _item(StackID="1", InStackPositionNumber=int(k) + 1, DimensionIndexValues=[int(k) + 1])
        ]
        group.PlanePositionSequence = [_item(ImagePositionPatient=[float(f"{n:.10g}") for n in places[k]])]
        group.PixelValueTransformationSequence = [
            _item(
                RescaleSlope=1 if slopes[k] is None else slopes[k],
                RescaleIntercept=0 if intercepts[k] is None else intercepts[k],
                RescaleType="US",
            )
        ]
        per_frame.append(group)
    dataset.PerFrameFunctionalGroupsSequence = per_frame


def _item(**tags: object) -> Dataset:
    item = Dataset()
    for keyword, value in tags.items():
        setattr(item, keyword, value)
    return item
