"""Which voxels of a volume the pixels of a Segmentation object's frames are."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.multival import MultiValue

from segkit.data.volume import Volume
from segkit.errors import DataError
from segkit.medical.dicom_frames import LPS, Frame, datasets_of, frames_of
from segkit.medical.dicom_tags import named, numbers_of

MANY = 8  # marked slices whose distances have no common divisor by chance, but for one object in hundreds
CLOSE = 0.2  # of a voxel: how far a pixel's centre may be from its voxel's; slices that count as even may be off by 0.1


@dataclass(frozen=True, eq=False)
class Placed:
    """Frames on a grid.

    Attributes:
        shape: I, J and K.
        starts: int [N, 3], the voxel of each frame's first pixel.
        steps: int [N, 3, 2], from a pixel's voxel to that of the next column and of the next row.
        path: of the object.
    """

    shape: tuple[int, int, int]
    starts: NDArray[np.int64]
    steps: NDArray[np.int64]
    path: Path

    def voxels(self, number: int, where: NDArray[np.bool_]) -> tuple[NDArray[np.int64], ...]:
        """I, J and K of the marked pixels [rows, columns] of a frame counted from 0.

        Raises:
            DataError: one is outside the grid.
        """
        rows, columns = np.nonzero(where)
        voxels = self.starts[number] + np.stack([columns, rows], axis=1) @ self.steps[number].T
        if (voxels < 0).any() or (voxels >= self.shape).any():
            raise DataError(f"{self.path}: marks places outside the images; it is for others, or for more of them")
        return tuple(voxels.T)


def place(seg: Dataset, volume: Volume, path: Path) -> Placed:
    """Put an object's frames where they say they are, turned or mirrored by whole axes as may be.

    Where the images or a frame don't say it, frames go to the images that they name.

    Raises:
        DataError: the frames are on another grid or in another frame of reference, lie on every other slice only, or
            there is nothing to place them by.
    """
    frames = [Frame(seg, number, several=True) for number in range(1, int(seg.get("NumberOfFrames") or 1) + 1)]
    if volume.located and all(frame.get("PlanePositionSequence", "ImagePositionPatient") for frame in frames):
        _check_frame_of_reference(seg, volume, path)
        placed = [_by_place(frame, volume, path) for frame in frames]
    else:
        placed = _by_name(frames, volume, path)
    starts, steps = (np.stack(parts) for parts in zip(*placed, strict=True))
    _check_every_slice(frames[0], starts, steps, volume, path)
    return Placed(volume.geometry.shape, starts, steps, path)


def _check_frame_of_reference(seg: Dataset, volume: Volume, path: Path) -> None:
    own = seg.get("FrameOfReferenceUID")
    images = datasets_of(volume)
    theirs = images[0].get("FrameOfReferenceUID") if images else None
    if own and theirs and own != theirs:
        raise DataError(
            f"{path}: has another frame of reference (FrameOfReferenceUID) than the images in {volume.path}, "
            "so that its places aren't theirs; it is for another series"
        )


def _by_place(frame: Frame, volume: Volume, path: Path) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The first voxel and the steps of one frame by its position, orientation and spacing."""
    directions = _numbers(frame, "ImageOrientationPatient", 6, path).reshape(2, 3)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    millimetres = _numbers(frame, "PixelSpacing", 2, path)[::-1]  # of columns, of rows
    position = _numbers(frame, "ImagePositionPatient", 3, path)
    to_voxels = np.linalg.inv(volume.geometry.affine)
    start = to_voxels[:3, :3] @ (position * LPS) + to_voxels[:3, 3]
    steps = to_voxels[:3, :3] @ (directions * millimetres[:, None] * LPS).T  # [3, 2]
    pixels = np.array([int(frame.dataset.Columns), int(frame.dataset.Rows)])
    whole = np.where(np.abs(steps) == np.abs(steps).max(axis=0), np.sign(steps), 0)
    lengths = np.abs(steps * whole).sum(axis=0)
    if (np.abs(steps - whole * lengths) * (pixels - 1) > CLOSE).any() or (np.abs(whole).sum(axis=1) > 1).any():
        raise DataError(f"{path}: its frames are turned by no whole axes against the images in {volume.path}")
    if (np.abs(lengths - 1) * (pixels - 1) > CLOSE).any():
        theirs = [volume.geometry.spacing[int(np.abs(whole[:, axis]).argmax())] for axis in range(2)]
        raise DataError(
            f"{path}: has pixels of {millimetres[0]:.4g} × {millimetres[1]:.4g} mm where the images in {volume.path} "
            f"have {theirs[0]:.4g} × {theirs[1]:.4g} mm; resample it to them"
        )
    off = np.abs(start - np.rint(start))
    if off.max() > CLOSE:
        raise DataError(
            f"{path}: its pixels lie {off.max():.2g} of a voxel beside those of the images in {volume.path}; "
            "it is for another series, or was resampled"
        )
    return np.rint(start).astype(np.int64), whole.astype(np.int64)


def _numbers(frame: Frame, keyword: str, count: int, path: Path) -> NDArray[np.float64]:
    numbers = numbers_of(frame.dataset, keyword, count, path, frame.number - 1)
    if numbers is None:
        raise DataError(f"{path}: {named(keyword)} is missing; export it again")
    return np.array(numbers)


def _by_name(frames: Sequence[Frame], volume: Volume, path: Path) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Each frame on the slice of the image that it names."""
    images = frames_of(volume)
    if images is None:
        raise DataError(f"{path}: {volume.path} doesn't say where in the patient it is, so that nothing places it")
    size = (int(frames[0].dataset.Columns), int(frames[0].dataset.Rows))
    if size != volume.geometry.shape[:2]:
        wanted = "×".join(str(number) for number in volume.geometry.shape[:2])
        raise DataError(f"{path}: has frames of {size[0]}×{size[1]} pixels; the images in {volume.path} have {wanted}")
    slices = {(str(image.dataset.SOPInstanceUID), image.number): k for k, image in enumerate(images)}
    placed = []
    for frame in frames:
        named = frame.get("DerivationImageSequence", "SourceImageSequence") or []
        found = {slices[key] for item in named for key in _keys(item) if key in slices}
        if len(found) != 1:
            raise DataError(
                f"{path}: frame {frame.number} neither says where it is nor names one image of those in {volume.path}"
            )
        placed.append((np.array([0, 0, found.pop()]), np.array([[1, 0], [0, 1], [0, 0]])))
    return placed


def _keys(item: Dataset) -> list[tuple[str, int]]:
    """Instance and frames that a reference is to."""
    numbers = item.get("ReferencedFrameNumber") or 1
    several = numbers if isinstance(numbers, MultiValue) else [numbers]
    return [(str(item.get("ReferencedSOPInstanceUID")), int(number)) for number in several]


def _check_every_slice(
    frame: Frame, starts: NDArray[np.int64], steps: NDArray[np.int64], volume: Volume, path: Path
) -> None:
    """Refuse frames that were drawn at twice the slices' distance: between them, nothing would be marked.

    Frames without a mark are usually left out, so that distances alone say little: the object's own are asked, too.
    """
    spacing, thickness = (
        numbers_of(frame.dataset, keyword, 1, path, frame.number - 1)
        for keyword in ("SpacingBetweenSlices", "SliceThickness")
    )
    across = np.abs(steps).sum(axis=2).argmin(axis=1)  # [N]: the axis that a frame's pixels don't go along
    for axis in range(3):
        slices = np.unique(starts[across == axis, axis])
        apart = int(np.gcd.reduce(np.diff(slices))) if len(slices) > 2 else 1
        step = volume.geometry.spacing[axis]
        said = spacing or thickness
        coarse = said is not None and abs(abs(said[0]) - apart * step) < CLOSE * step
        if apart > 1 and (coarse or (spacing is None and len(slices) > MANY)):
            raise DataError(
                f"{path}: its frames are {apart} slices of the images in {volume.path} apart, so that the slices "
                "between them have no masks; resample it to the images"
            )
