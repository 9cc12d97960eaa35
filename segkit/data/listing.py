"""Which files of a dataset's folder are which pictures', by the stems of their names."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from segkit.errors import DataError

BLURRING = (".jpg", ".jpeg", ".webp")  # compressed with loss


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
    """Return a folder's files, hidden ones left out; raise DataError where there is no such folder."""
    found: dict[str, Path] = {}
    twice, others = [], []
    for entry in entries(folder):
        if entry.suffix.lower() not in suffixes:
            others.append(entry)
        elif entry.stem in found:
            twice.append(entry)
        else:
            found[entry.stem] = entry
    return Listing(found, tuple(twice), tuple(others))


def by_stem(folder: Path, suffixes: Sequence[str]) -> dict[str, Path]:
    """Return a folder's files by stem; raise DataError where two have the same one, or there are none."""
    listing = list_folder(folder, suffixes)
    for entry in listing.twice:
        raise DataError(f"{entry}: {listing.found[entry.stem].name} has the same name; keep one of them")
    if not listing.found:
        others = sorted({entry.suffix for entry in listing.others})
        there = f"; there are {', '.join(others)}" if others else ""
        if any(suffix.lower() in BLURRING for suffix in others) and not set(BLURRING) & set(suffixes):
            depth = ".npy" in suffixes
            blurred = "depth: export it" if depth else "class ids: export them"
            there += f", which blur {blurred} again" + ("" if depth else ", or run 'segkit check --fix'")
        raise DataError(f"{folder}: no files of a type that is read here ({', '.join(suffixes)}){there}")
    return listing.found


def entries(folder: Path) -> list[Path]:
    """Return what lies in a folder, sorted, hidden files left out; raise DataError where there is no such folder."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; a dataset has images/ and masks/")
    return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
