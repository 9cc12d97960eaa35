"""Which frame of which DICOM object each slice of a volume came from."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from segkit.data.geometry import Geometry
from segkit.data.volume import Volume
from segkit.errors import DataError

LPS = np.array([-1.0, -1.0, 1.0])
"""What turns RAS+ millimetres into DICOM's, and back."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One slice where it came from.

    Attributes:
        dataset: the object that holds it, without pixel data.
        number: which of the object's frames it is, counted from 1.
        several: whether objects of this kind number their frames.
    """

    dataset: Dataset
    number: int
    several: bool

    def get(self, group: str, keyword: str) -> Any:
        """What is said of the frame: in a functional group, of its own or of all frames, or in the object itself."""
        found = group_of(self.dataset, self.number, group)
        return self.dataset.get(keyword) if found is None or keyword not in found else found.get(keyword)

    @property
    def position(self) -> NDArray[np.float64] | None:
        """The centre of the first pixel in millimetres (LPS+); None where nothing says it."""
        value = self.get("PlanePositionSequence", "ImagePositionPatient")
        return None if not value else np.array([float(number) for number in value])


def group_of(dataset: Dataset, number: int, group: str) -> Dataset | None:
    """The one item of a functional group of a frame counted from 1: its own, or else what all frames share."""
    own = dataset.get("PerFrameFunctionalGroupsSequence") or []
    for place in (*own[number - 1 : number], *(dataset.get("SharedFunctionalGroupsSequence") or [])):
        if place.get(group):
            item: Dataset = place[group].value[0]
            return item
    return None


def datasets_of(volume: Volume) -> tuple[Dataset, ...]:
    """The objects that a volume was read from; none where it wasn't read from DICOM."""
    origin = volume.origin if isinstance(volume.origin, tuple) else ()
    datasets = [each.dataset if isinstance(each, Frame) else each for each in origin]
    return tuple(datasets) if all(isinstance(each, Dataset) for each in datasets) else ()


def frames_of(volume: Volume) -> tuple[Frame, ...] | None:
    """The frame of each slice, in the order of K; None where the volume wasn't read from DICOM.

    Where the volume names objects alone, slices find their frames by their place, because the frames of one object may
    be in any order.

    Raises:
        DataError: the slices have no frames of their own.
    """
    if not datasets_of(volume):
        return None
    if all(isinstance(each, Frame) for each in volume.origin):
        return tuple(volume.origin)
    frames = [frame for dataset in volume.origin for frame in _all_frames(dataset)]
    if not volume.located and len(frames) == volume.geometry.shape[2]:
        return tuple(frames)
    positions = [position for frame in frames if (position := frame.position) is not None]
    if len(positions) < len(frames) or not volume.located:
        raise DataError(f"{volume.path}: not every frame says where it is (ImagePositionPatient (0020,0032))")
    if len(np.unique(np.round(positions, 3), axis=0)) < len(positions):
        raise DataError(f"{volume.path}: several frames are at one place, and which of them were read isn't known")
    return tuple(frames[index] for index in _nearest(volume.geometry, np.array(positions)))


def _all_frames(dataset: Dataset) -> list[Frame]:
    count = int(dataset.get("NumberOfFrames") or 1)
    several = count > 1 or "PerFrameFunctionalGroupsSequence" in dataset
    return [Frame(dataset, number, several) for number in range(1, count + 1)]


def _nearest(geometry: Geometry, positions: NDArray[np.float64]) -> list[int]:
    """For each slice the index of the position [N, 3] (LPS+) that is nearest to its first voxel."""
    slices = np.zeros((geometry.shape[2], 3))
    slices[:, 2] = np.arange(geometry.shape[2])
    places = geometry.points(slices) * LPS
    distances = np.linalg.norm(places[:, None] - positions, axis=-1)  # [K, N]
    chosen = distances.argmin(axis=1)
    # A slice that is nearer to its neighbour's frame would be a mask that is shifted or turned round.
    if distances.min(axis=1).max() > 0.5 * geometry.spacing[2] or len(set(chosen.tolist())) < len(chosen):
        raise ValueError("the volume's slices aren't where its data sets say; its order or its affine was changed")
    return [int(index) for index in chosen]
