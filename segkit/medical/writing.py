"""Masks and maps of volumes as files in the volume's own format and on its own grid."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segkit.data.suffixes import TIFF, suffix_of
from segkit.data.volume import Volume
from segkit.errors import UsageError
from segkit.medical.itk_header import META, NRRD

LIKE = {
    ".nii": ".nii",
    **dict.fromkeys((".nii.gz", ".hdr", ".img"), ".nii.gz"),
    **dict.fromkeys(NRRD, ".nrrd"),
    **dict.fromkeys(META, ".mha"),
    **dict.fromkeys(TIFF, ".tif"),
}
"""Suffixes of what is written for a volume, by that of its file; all others are DICOM."""


def suffix_for(volume: Volume) -> str:
    """The suffix of a mask's file, as fits the volume's format: .nii, .nii.gz, .nrrd, .mha, .tif or .dcm."""
    return LIKE.get("" if volume.path.is_dir() else suffix_of(volume.path), ".dcm")


def map_suffix_for(volume: Volume) -> str:
    """The suffix of a map's file for a volume: the mask's, but NIfTI for DICOM, where few programs read such maps."""
    suffix = suffix_for(volume)
    return ".nii.gz" if suffix == ".dcm" else suffix


def write_labels(path: Path, labels: NDArray[np.uint8], volume: Volume) -> None:
    """Write class ids [I, J, K] on the volume's grid, in the format that the path's suffix names.

    Raises:
        UsageError: the file can't be written, or isn't of a format that is written here.
    """
    _write(path, np.asarray(labels, np.uint8), volume, "class ids")


def write_map(path: Path, values: NDArray[np.float32], volume: Volume, meaning: str) -> None:
    """Write a map [I, J, K], or several [I, J, K, C], as float32; where the format has a place for it, the meaning too.

    Raises:
        UsageError: the file can't be written, or isn't of a format that is written here.
    """
    _write(path, np.asarray(values, np.float32), volume, meaning)


def _write(path: Path, values: NDArray[np.uint8] | NDArray[np.float32], volume: Volume, meaning: str) -> None:
    suffix = suffix_of(path)
    if suffix in (".nii", ".nii.gz"):
        from segkit.medical.nifti import write_nifti

        write_nifti(path, values, volume, meaning)
    elif suffix in (".nrrd", ".mha"):
        from segkit.medical.itk import write_itk

        write_itk(path, values, volume)
    elif suffix in TIFF:
        from segkit.medical.stack import write_stack

        write_stack(path, values, volume, meaning)
    else:
        raise UsageError(f"{path}: masks and maps of volumes aren't written so; use {map_suffix_for(volume)}")
