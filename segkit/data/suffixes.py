"""What the names of files say: their stems, and by their suffixes what they hold."""

import unicodedata
from pathlib import Path

BLURRING = (".jpg", ".jpeg", ".webp")  # compressed with loss
DICOM = ".dcm"
OF_DICOM = (DICOM, ".dicom", ".ima")  # others may be the last number of a UID
TIFF = (".tif", ".tiff")
VOLUMES = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd", DICOM)
"""Suffixes of files that hold volumes, or a slice with its place in space."""
SERIES = "/"
"""In the place of a suffix: a folder that holds a DICOM series."""


def suffix_of(path: Path) -> str:
    """The suffix in small letters, that of a compressed file whole: ``.nii.gz``."""
    return ".nii.gz" if path.name.lower().endswith(".nii.gz") else path.suffix.lower()


def as_there(path: Path) -> Path:
    """The path by the name that the file system has for it, which may write letters with marks otherwise."""
    if path.name.isascii() or path.exists():
        return path
    other = path.with_name(unicodedata.normalize("NFD", path.name))
    return other if other.exists() else path


def stem_of(path: Path) -> str:
    """The name without its suffix, ``x`` of ``x.nii.gz``; of a folder the whole name.

    Letters with marks are one character each (NFC), as keyboards give them, whatever the file system says: names in
    lists are compared with these.
    """
    suffix = "" if path.is_dir() else suffix_of(path)
    return unicodedata.normalize("NFC", path.name[: len(path.name) - len(suffix)])
