"""Which files of a dataset's folder are which pictures', by the stems of their names."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from segkit.data.suffixes import BLURRING, OF_DICOM, SERIES, TIFF, VOLUMES, stem_of, suffix_of
from segkit.errors import DataError
from segkit.given_path import why_no_text

LOOKED_AT = 8  # files of a folder, and folders in it


@dataclass(frozen=True)
class Listing:
    """The files of one folder.

    Attributes:
        found: the files with a suffix asked for, by stem.
        twice: further files of a stem that is in ``found``.
        others: files with other suffixes, folders among them.
    """

    found: dict[str, Path]
    twice: tuple[Path, ...]
    others: tuple[Path, ...]


def list_folder(folder: Path, suffixes: Sequence[str]) -> Listing:
    """Return a folder's files, hidden ones left out; raise DataError where there is no such folder.

    With ``SERIES`` among the suffixes a folder that holds DICOM files is one of them.
    """
    found: dict[str, Path] = {}
    twice, others = [], []
    for entry in entries(folder):
        called = suffix_of(entry) in suffixes and not entry.is_dir()  # a folder may be called x.png
        if not called and not (SERIES in suffixes and holds_dicom(entry)):
            others.append(entry)
        elif (stem := stem_of(entry)) in found:
            twice.append(entry)
        else:
            found[stem] = entry
    return Listing(found, tuple(twice), tuple(others))


def by_stem(folder: Path, suffixes: Sequence[str]) -> dict[str, Path]:
    """Return a folder's files by stem; raise DataError where two have the same one, or there are none."""
    listing = list_folder(folder, suffixes)
    for entry in listing.twice:
        raise DataError(f"{entry}: {listing.found[stem_of(entry)].name} has the same name; keep one of them")
    if not listing.found:
        others = sorted({entry.suffix for entry in listing.others})
        there = f"; there are {', '.join(others)}" if others else ""
        if any(suffix.lower() in BLURRING for suffix in others) and not set(BLURRING) & set(suffixes):
            depth = ".npy" in suffixes
            blurred = "depth: export it" if depth else "class ids: export them"
            there += f", which blur {blurred} again" + ("" if depth else ", or run 'segkit check --fix'")
        elif ".npy" in suffixes and folder.name == "depth":
            there += "; put depth there, or remove the folder"
        known = ", ".join(suffix for suffix in suffixes if suffix != SERIES)
        raise DataError(f"{folder}: no files of a type that is read here ({known}){there}")
    return listing.found


def is_volume(path: Path) -> bool:
    """Whether a file, or a folder with a series, is read as a volume: by its suffix, a TIFF by its pages."""
    suffix = suffix_of(path)
    if suffix in TIFF:
        from segkit.medical.stack import is_stack

        return is_stack(path)
    return suffix in VOLUMES or path.is_dir()


def holds_dicom(folder: Path) -> bool:
    """Whether the first files of a folder, or of one below it, include one of DICOM, by its first bytes."""
    if not folder.is_dir():
        return False
    try:
        inside = [entry for entry in sorted(folder.iterdir()) if not entry.name.startswith(".")]
    except OSError:
        return False
    files = [entry for entry in inside if entry.is_file()][:LOOKED_AT]
    folders = [entry for entry in inside if entry.is_dir() and not entry.is_symlink()][:LOOKED_AT]
    return any(map(is_dicom, files)) or any(map(holds_dicom, folders))


def is_dicom(file: Path) -> bool:
    """Whether a file is of DICOM, by its suffix or, where that says nothing, its first bytes."""
    if suffix_of(file) in OF_DICOM:
        return True
    if suffix_of(file) in VOLUMES or not file.is_file():
        return False
    try:
        with file.open("rb") as opened:
            return opened.read(132)[128:] == b"DICM"
    except OSError:
        return False


def entries(folder: Path) -> list[Path]:
    """Return what lies in a dataset's folder, sorted, hidden files left out.

    Raises:
        DataError: there is no such folder, it can't be read, or a name in it can't be written down.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; a dataset has images/ and masks/")
    try:
        found = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        raise DataError(f"{folder}: can't be read ({error.strerror}); ask whoever it belongs to") from error
    if (why := next(filter(None, (why_no_text(entry.name) for entry in found)), None)) is not None:
        raise DataError(f"{folder}: {why}")
    return found
