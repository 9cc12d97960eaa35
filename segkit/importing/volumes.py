"""Volumes in others' folders: copied, or written anew where a case's channels or labels have to be put together."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segkit.data.geometry import Geometry
from segkit.data.suffixes import suffix_of
from segkit.data.volume import Volume
from segkit.errors import DataError
from segkit.importing.layout import Put
from segkit.medical.itk import write_itk
from segkit.medical.nifti import write_nifti
from segkit.medical.reading import read_volume
from segkit.medical.stack import write_stack
from segkit.medical.writing import suffix_for, write_labels

WRITERS = {
    **dict.fromkeys((".nii", ".nii.gz"), write_nifti),
    **dict.fromkeys((".nrrd", ".mha"), write_itk),
    ".tif": write_stack,
}


def place_volume(files: Sequence[Path], folder: Path, name: str, put: Put) -> Geometry:
    """Copy a volume that is one file; write one file where it has a file for each channel, or one for its voxels.

    Returns:
        Where its voxels are.

    Raises:
        DataError: a file can't be read, has several channels beside others, or another grid than the first.
    """
    first, *others = volumes = [read_volume(file) for file in files]
    if not others and len(first.files) == 1:
        put(files[0], folder / f"{name}{suffix_of(files[0])}")
        return first.geometry
    for volume in volumes if others else ():
        if volume.channels > 1:
            raise DataError(f"{volume.path}: it has {volume.channels} channels itself; a file of channels has one")
        apart = first.geometry.difference(volume.geometry)
        if apart is not None:
            raise DataError(
                f"{volume.path}: not on the grid of {first.path.name} ({apart}); channels lie voxel on voxel"
            )
    alike = len({volume.values.dtype for volume in volumes}) == 1
    channels = [volume.values if alike else volume.values.astype(np.float32) for volume in volumes]
    suffix = suffix_for(first)
    if suffix not in WRITERS:
        raise DataError(f"{files[0]}: channels of this format aren't put into one file; export them as .nii.gz")
    values: NDArray[Any] = np.concatenate(channels, axis=3)
    WRITERS[suffix](folder / f"{name}{suffix}", values[..., 0] if values.shape[3] == 1 else values, first)
    return first.geometry


def read_labels(path: Path) -> Volume:
    """A volume of labels; raise DataError where it can't be read, or has several values for each voxel."""
    volume = read_volume(path)
    if volume.channels > 1:
        raise DataError(f"{path}: {volume.channels} values for each voxel; labels have one")
    return volume


def write_ids(stem: Path, ids: NDArray[np.uint8], like: Volume) -> None:
    """Write ids [I, J, K] on the grid, and in the format, of the labels that they come from."""
    write_labels(stem.with_name(stem.name + suffix_for(like)), ids, like)
