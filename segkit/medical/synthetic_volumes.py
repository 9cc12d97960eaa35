"""A small dataset of volumes drawn by the program: two organs in a body, as NIfTI files or DICOM series."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian
from scipy.ndimage import gaussian_filter, map_coordinates

from segkit.data.geometry import Geometry
from segkit.data.volume import Volume
from segkit.errors import UsageError
from segkit.medical.nifti import write_nifti
from segkit.yaml_text import yaml_of

CLASSES = ("background", "liver", "spleen")
AIR, FAT, MUSCLE, LIVER, SPLEEN, BONE = -1000, -90, 45, 105, 125, 500
"""Hounsfield units, of the organs with contrast agent."""

Array = NDArray[np.float64]


def draw_volumes(
    folder: str | Path,
    *,
    cases: int = 12,
    shape: tuple[int, int, int] = (64, 56, 24),
    spacing: tuple[float, float, float] = (5.0, 5.0, 7.5),
    seed: int = 0,
) -> Path:
    """Write a dataset of drawn CT volumes and return its folder: NIfTI images, label volumes, ``dataset.yaml``.

    A body with a spine, a liver on its right and a spleen on its left; their places, sizes and shapes differ from case
    to case, and so does how each volume lies in its file: some are turned round, all a little oblique. The same
    arguments give the same bytes.

    Args:
        folder: where to write; made if need be.
        cases: how many volumes.
        shape: voxels from right to left, front to back and bottom to top.
        spacing: millimetres between them.
        seed: of everything drawn.

    Raises:
        UsageError: fewer than three cases.
    """
    if cases < 3:
        raise UsageError(f"drawing volumes takes 3 cases or more, not {cases}")
    folder = Path(folder)
    names = [f"body_{number:03d}" for number in range(cases)]
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        random = np.random.default_rng([seed, number])
        values, ids = draw_body(shape, random)
        affine = _place(shape, spacing, random)
        if number % 3 == 1:  # from left to right, bottom up turned round
            values, ids, affine = _turned_round(values, ids, affine, (0, 2))
        for part, array in (("images", values), ("masks", ids)):
            volume = Volume(name, array[..., None], Geometry(array.shape, affine), folder)
            write_nifti(folder / part / f"{name}.nii.gz", array, volume, part)
    counts = [max(1, round(cases * share)) for share in (0.15, 0.2)]
    splits = dict(zip(("train", "val", "test"), np.split(names, [cases - sum(counts), cases - counts[1]]), strict=True))
    described = {
        "name": "bodies",
        "task": "multiclass",
        "classes": list(CLASSES),
        "splits": {split: [str(name) for name in those] for split, those in splits.items()},
    }
    (folder / "dataset.yaml").write_text(yaml_of(described), encoding="utf-8")
    return folder


def draw_study(
    folder: str | Path,
    *,
    shape: tuple[int, int, int] = (64, 56, 24),
    spacing: tuple[float, float, float] = (5.0, 5.0, 7.5),
    seed: int = 100,
    number: int = 1,
) -> Path:
    """Write a drawn CT volume as one DICOM series, a file a slice, and return its folder.

    Args:
        folder: where to write; made if need be.
        shape: voxels from right to left, front to back and bottom to top.
        spacing: millimetres between them.
        seed: of what is drawn.
        number: of the series.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    values, _ = draw_body(shape, np.random.default_rng([seed, number]))
    series = f"2.25.{10**20 + seed * 10**4 + number}"
    corner = [-side * step / 2 for side, step in zip(shape, spacing, strict=True)]
    for k in range(shape[2]):
        slice_ = Dataset()
        slice_.SOPClassUID, slice_.SOPInstanceUID = CTImageStorage, UID(f"{series}.{k + 1}")
        slice_.StudyInstanceUID, slice_.SeriesInstanceUID = UID(f"2.25.{10**20 + seed}"), UID(series)
        slice_.FrameOfReferenceUID = UID(f"2.25.{2 * 10**20 + seed}")
        slice_.PatientName, slice_.PatientID, slice_.PatientBirthDate, slice_.PatientSex = "Drawn^Body", "0", "", ""
        slice_.StudyDate, slice_.StudyTime, slice_.StudyID = "20200101", "120000", "1"
        slice_.AccessionNumber, slice_.ReferringPhysicianName = "", ""
        slice_.Modality, slice_.SeriesNumber, slice_.InstanceNumber = "CT", number, k + 1
        slice_.ImageType, slice_.PatientPosition = ["ORIGINAL", "PRIMARY", "AXIAL"], "HFS"
        slice_.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        slice_.ImagePositionPatient = [corner[0], corner[1], corner[2] + k * spacing[2]]
        slice_.PixelSpacing, slice_.SliceThickness = [spacing[1], spacing[0]], spacing[2]
        slice_.Rows, slice_.Columns, slice_.SamplesPerPixel = shape[1], shape[0], 1
        slice_.PhotometricInterpretation, slice_.PixelRepresentation = "MONOCHROME2", 0
        slice_.BitsAllocated, slice_.BitsStored, slice_.HighBit = 16, 12, 11
        slice_.RescaleIntercept, slice_.RescaleSlope, slice_.RescaleType = -1024, 1, "HU"
        slice_.WindowCenter, slice_.WindowWidth = 50, 400
        slice_.PixelData = np.ascontiguousarray(values[..., k].T + 1024).astype("<u2").tobytes()
        meta = FileMetaDataset()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = slice_.SOPClassUID, slice_.SOPInstanceUID
        slice_.file_meta = meta
        slice_.save_as(folder / f"series{number}_{k:03d}.dcm", enforce_file_format=True)
    return folder


def draw_body(shape: tuple[int, int, int], random: np.random.Generator) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
    """Hounsfield units int16 and ids uint8 [X, Y, Z]: from right to left, front to back, bottom to top."""
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, side) for side in shape), indexing="ij")
    x, y, z = (axis + 0.08 * _smooth(shape, random) for axis in (x, y, z))
    values = np.full(shape, float(AIR))
    body = _ellipsoid(x, y, 0 * z, (0, 0, 0), (0.86, 0.8, 1))
    values[body < 1] = FAT
    values[body < 0.75] = MUSCLE
    values[_ellipsoid(x, y, 0 * z, (0, 0.55, 0), (0.12, 0.14, 1)) < 1] = BONE
    ids = np.zeros(shape, np.uint8)
    shift = random.uniform(-0.12, 0.12, (2, 3))
    size = random.uniform(0.85, 1.15, 2)
    organs = (
        (1, LIVER, (-0.36, -0.08, 0.15), (0.34, 0.42, 0.55)),
        (2, SPLEEN, (0.46, 0.22, 0.25), (0.17, 0.26, 0.36)),
    )
    for number, (label, units, centre, radii) in enumerate(organs):
        place = [c + s for c, s in zip(centre, shift[number], strict=True)]
        inside = (_ellipsoid(x, y, z, place, [radius * size[number] for radius in radii]) < 1) & (body < 0.7)
        values[inside], ids[inside] = units + random.uniform(-10, 10), label
    values = gaussian_filter(values, 0.6) + random.normal(0, 22, shape)
    return np.rint(values).clip(-1024, 3071).astype(np.int16), ids


def _ellipsoid(x: Array, y: Array, z: Array, centre: Sequence[float], radii: Sequence[float]) -> Array:
    """Below 1 inside."""
    parts = [((axis - c) / r) ** 2 for axis, c, r in zip((x, y, z), centre, radii, strict=True)]
    return parts[0] + parts[1] + parts[2]


def _smooth(shape: tuple[int, int, int], random: np.random.Generator) -> Array:
    """Noise without fine detail, of deviation 1."""
    coarse = random.normal(0, 1, (5, 5, 5))
    places = np.meshgrid(*(np.linspace(0, 4, side) for side in shape), indexing="ij")
    found = map_coordinates(coarse, np.array(places), order=3, mode="nearest")
    return np.asarray(found / max(found.std(), 1e-6))


def _place(shape: tuple[int, int, int], spacing: Sequence[float], random: np.random.Generator) -> Array:
    """An affine whose axes run from right to left, front to back and bottom to top, turned by up to six degrees."""
    turn = np.eye(3)
    for axis, angle in enumerate(np.radians(random.uniform(-6, 6, 3))):
        i, j = (a for a in range(3) if a != axis)
        one = np.eye(3)
        one[i, i] = one[j, j] = np.cos(angle)
        one[i, j], one[j, i] = -np.sin(angle), np.sin(angle)
        turn = one @ turn
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([-spacing[0], -spacing[1], spacing[2]])
    affine[:3, 3] = -affine[:3, :3] @ (np.array(shape) - 1) / 2
    return affine


def _turned_round(
    values: NDArray[np.int16], ids: NDArray[np.uint8], affine: Array, axes: Sequence[int]
) -> tuple[NDArray[np.int16], NDArray[np.uint8], Array]:
    """The same voxels at the same places, with some axes of the arrays running the other way."""
    back = np.eye(4)
    for axis in axes:
        back[axis, axis], back[axis, 3] = -1, values.shape[axis] - 1
    over = tuple(axes)
    return np.flip(values, over).copy(), np.flip(ids, over).copy(), affine @ back
