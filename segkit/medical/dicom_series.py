"""Which volumes DICOM files hold, whatever the files are called, and which files are in none and why."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from segkit.data.claims import LIMIT
from segkit.errors import DataError
from segkit.medical.dicom_grouping import LeftOut as LeftOut
from segkit.medical.dicom_grouping import Series as Series
from segkit.medical.dicom_grouping import volumes_of, words_of
from segkit.medical.dicom_header import DIRECTORY, Header, read_header
from segkit.medical.dicom_tags import quiet

TOGETHER = ("SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID", "SOPClassUID", "Modality")
"""Tags that all files of a volume have in common."""


@dataclass(frozen=True)
class Found:
    """What some files hold.

    Attributes:
        series: those that can be read and those that are refused, by name.
        left_out: files that are in none of them.
    """

    series: tuple[Series, ...]
    left_out: tuple[LeftOut, ...]


def find_series(paths: str | Path | Iterable[str | Path], *, limit: int = LIMIT) -> Found:
    """Return the volumes of DICOM files, from their headers alone.

    Files are known by what they hold and sorted by their places. Localizers, copies, and files that are damaged or no
    images are left out with a reason; in folders, hidden files, ``.txt`` and DICOMDIRs silently. A series that should
    be readable and isn't is among the series, with the reason in ``refused``.

    Args:
        paths: a folder, looked through with all below it, or files and folders.
        limit: bytes that a deflated file may inflate to.

    Raises:
        DataError: there is no such file or folder.
    """
    quiet()
    groups: dict[tuple[str, ...], list[Header]] = defaultdict(list)
    left_out: list[LeftOut] = []
    for path, named in _files([paths] if isinstance(paths, str | Path) else paths):
        header = read_header(path, limit)
        if isinstance(header, Header):
            uid, *others = (words_of(header, keyword) for keyword in TOGETHER)
            groups[uid or str(path), *others].append(header)
        elif named or header != DIRECTORY:
            left_out.append(LeftOut(path, header))
    series: list[Series] = []
    for headers in groups.values():
        volumes, others_left = volumes_of(headers)
        series += volumes
        left_out += others_left
    left_out.sort(key=lambda each: each.path)
    return Found(tuple(sorted(_told_apart(series), key=lambda each: each.name)), tuple(left_out))


def _files(paths: Iterable[str | Path]) -> Iterator[tuple[Path, bool]]:
    """Each file once, and whether it was named itself."""
    seen: set[Path] = set()
    for path in map(Path, paths):
        if not path.exists():
            raise DataError(f"{path}: no such file or folder")
        named = path.is_file()
        for file in [path] if named else sorted(each for each in path.rglob("*") if each.is_file()):
            hidden = any(part.startswith(".") for part in file.relative_to(path).parts)
            if file not in seen and (named or not (hidden or file.suffix.lower() == ".txt")):
                seen.add(file)
                yield file, named


def _told_apart(series: Sequence[Series]) -> list[Series]:
    """The same with names that differ, by a few letters of a hash of their UIDs where folder and number don't."""
    counts = Counter(each.name for each in series)
    return [replace(each, name=f"{each.name}_{_hash(each)}") if counts[each.name] > 1 else each for each in series]


def _hash(series: Series) -> str:
    header = series.slices[0].header
    identity = [words_of(header, keyword) for keyword in ("SeriesInstanceUID", "SOPInstanceUID")]
    if not all(identity):
        identity.append(str(series.slices[0]))
    return hashlib.sha256("|".join(identity).encode()).hexdigest()[:8]
