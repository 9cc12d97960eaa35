"""The volumes of one DICOM series: its slices on a grid, its pictures one by one, and what is left out of it."""

import filecmp
import os
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from segkit.data.geometry import Geometry
from segkit.data.suffixes import OF_DICOM
from segkit.errors import DataError
from segkit.medical.dicom_grid import geometry_of, grid_of
from segkit.medical.dicom_header import Header
from segkit.medical.dicom_slices import Slice
from segkit.medical.dicom_split import SAME, Part, parts_of
from segkit.medical.dicom_tags import number_of, text_of, value_of

PARALLEL = 1e-3  # how far the numbers of two slices' orientations may be apart: half a millimetre in half a metre
ALIKE = 1e-3  # the same for spacings, of one
TEXT = ("US", "IVUS", "SC", "OT", "XC", "ES", "GM", "DOC")
"""Modalities whose devices write names and dates into the picture itself."""


@dataclass(frozen=True)
class LeftOut:
    """A file that belongs to no volume, and why."""

    path: Path
    why: str

    def __str__(self) -> str:
        return f"{self.path}: {self.why}"


@dataclass(frozen=True, eq=False)
class Series:
    """What becomes one volume: a series, or a part of one.

    Attributes:
        name: of its file or folder, and its number; nothing that its tags say of a patient is in it.
        slices: in the order of K.
        path: its file, or the folder that all its files are in.
        geometry: its grid; None where it is refused.
        located: whether it says where it is in the patient.
        spaced: whether it says how far apart its pixels are.
        notes: what was decided on reading that a user should know.
        refused: why it can't be read: what :func:`~segkit.medical.dicom_volume.read_series` raises.
    """

    name: str
    slices: tuple[Slice, ...]
    path: Path
    geometry: Geometry | None = None
    located: bool = True
    spaced: bool = True
    notes: tuple[str, ...] = ()
    refused: str | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """Its files, in the order of K."""
        return tuple(dict.fromkeys(each.path for each in self.slices))

    @property
    def modality(self) -> str:
        """As DICOM abbreviates it: CT, MR; "" where it isn't said."""
        return words_of(self.slices[0].header, "Modality")

    @property
    def burned_in(self) -> bool:
        """Whether texts, names among them, may be in the pictures themselves."""
        header = self.slices[0].header
        said = {words_of(each.header, "BurnedInAnnotation") for each in self.slices}
        if said <= {"YES", "NO"}:
            return "YES" in said
        captured = "Secondary Capture" in header.sop_class.name or bool(words_of(header, "ConversionType"))
        return "YES" in said or captured or self.modality in TEXT


def volumes_of(headers: Sequence[Header]) -> tuple[list[Series], list[LeftOut]]:
    """The volumes of the files of one series, and those files that are in none."""
    left_out = [LeftOut(each.path, "a localizer: its ImageType says so") for each in headers if _is_localizer(each)]
    headers = [each for each in headers if not _is_localizer(each)]
    lost = [each for each in headers if each.lost]
    left_out += [LeftOut(each.path, str(each.lost)) for each in lost]
    try:
        whole, twice = _once([each for each in headers if not each.lost])
        left_out += twice
        slices = [each for header in whole for each in slices_of(header)]
        placed = [each for each in slices if each.place is not None]
        kept, others = _parallel(placed)
        alike = _clusters(kept, _are_alike)
    except DataError as error:
        slices = [Slice(each) for each in headers if not each.lost]
        return [_refused(slices, str(error))], left_out
    left_out += others
    volumes = [volume for group in alike for volume in _located(group, lost)]
    if len(alike) > 1:
        sizes = f"its series holds images of {len(alike)} sizes or spacings, each of them a volume"
        volumes = [replace(each, notes=(sizes, *each.notes)) for each in volumes]
    if len(volumes) > 1:
        volumes = [replace(each, name=f"{each.name}_v{number}") for number, each in enumerate(volumes, start=1)]
    pictures: dict[Path, list[Slice]] = defaultdict(list)
    for each in slices:
        if each.place is None:
            pictures[each.path].append(each)
    return volumes + [_picture(frames) for frames in pictures.values()], left_out


def slices_of(header: Header) -> list[Slice]:
    """The images of a file; raise DataError where it doesn't say how many there are."""
    several = header.frames > 1 or "PerFrameFunctionalGroupsSequence" in header.tags
    return [Slice(header, frame) for frame in range(header.frames)] if several else [Slice(header)]


def words_of(header: Header, keyword: str) -> str:
    """A tag's text, "" where it is absent or damaged."""
    try:
        return text_of(header.tags, keyword, header.path)
    except DataError:
        return ""


def _is_localizer(header: Header) -> bool:
    try:
        value = value_of(header.tags, "ImageType", header.path)
    except DataError:
        return False
    return "LOCALIZER" in str(value).upper()


def _once(headers: Sequence[Header]) -> tuple[list[Header], list[LeftOut]]:
    """Each object once, and its copies; DataError where two files of one identity differ."""
    first: dict[str, Header] = {}
    twice = []
    for header in headers:
        uid = words_of(header, "SOPInstanceUID") or str(header.path)
        other = first.setdefault(uid, header)
        if other is header:
            continue
        if not filecmp.cmp(other.path, header.path, shallow=False):
            raise DataError(
                f"{header.path}: another image than {other.path}, under the same SOPInstanceUID; keep one of the two"
            )
        twice.append(LeftOut(header.path, f"a copy of {other.path}"))
    return list(first.values()), twice


def _clusters(slices: Sequence[Slice], same: Callable[[Slice, Slice], bool]) -> list[list[Slice]]:
    """Slices that are like the first of their cluster, the largest cluster first."""
    clusters: list[list[Slice]] = []
    for each in slices:
        own = next((cluster for cluster in clusters if same(cluster[0], each)), None)
        if own is None:
            clusters.append([each])
        else:
            own.append(each)
    return sorted(clusters, key=len, reverse=True)


def _are_parallel(one: Slice, other: Slice) -> bool:
    a, b = one.place, other.place
    return a is not None and b is not None and float(np.abs(a.along - b.along).max()) <= PARALLEL


def _are_alike(one: Slice, other: Slice) -> bool:
    a, b = one.place, other.place
    if a is None or b is None or one.size != other.size:
        return False
    return bool(np.allclose(a.spacing, b.spacing, rtol=ALIKE, atol=0))


def _parallel(placed: Sequence[Slice]) -> tuple[list[Slice], list[LeftOut]]:
    """Slices of the orientation that more than half have, and the files of the others."""
    clusters = _clusters(placed, _are_parallel)
    if len(clusters) < 2:
        return list(placed), []
    kept = clusters[0] if 2 * len(clusters[0]) > len(placed) else []
    why = f"no volume but a localizer, it seems: its series shows {len(clusters)} orientations, none of them most often"
    if kept:
        why = f"a localizer, it seems: turned against {len(kept)} images of its series"
    chosen = {each.path for each in kept}
    left_out = []
    for path in dict.fromkeys(each.path for cluster in clusters[bool(kept) :] for each in cluster):
        left_out.append(LeftOut(path, f"some of its frames are {why}" if path in chosen else why))
    return kept, left_out


def _located(slices: Sequence[Slice], lost: Sequence[Header]) -> list[Series]:
    """The volumes of parallel slices of one size; one that is refused where they are on no grid."""
    try:
        parts = parts_of(slices)
    except DataError as error:
        return [_refused(slices, str(error))]
    return [_volume(part, lost) for part in parts]


def _volume(part: Part, lost: Sequence[Header]) -> Series:
    try:
        grid = grid_of(part.slices)
        ends = _beyond(grid.slices, lost)
    except DataError as error:
        return _refused(part.slices, str(error))
    notes = (part.note, *grid.notes, ends)
    return _named(grid.slices, Series("", grid.slices, Path(), grid.geometry, notes=tuple(filter(None, notes))))


def _beyond(slices: Sequence[Slice], lost: Sequence[Header]) -> str | None:
    """What to say of lost slices before the first or behind the last; DataError where one is missing in between."""
    first = slices[0]
    if first.place is None:
        return None
    normal, near = first.place.normal, SAME * min(first.place.spacing)
    distances = np.array([each.place.corner @ normal for each in slices if each.place is not None])
    beyond = 0
    for header in lost:
        try:
            gone = [each for each in slices_of(header) if _are_parallel(first, each) and _are_alike(first, each)]
        except DataError:  # it is left out anyway
            continue
        for at in (float(each.place.corner @ normal) for each in gone if each.place is not None):
            if np.abs(distances - at).min() <= near:
                continue
            if distances[0] < at < distances[-1]:
                raise DataError(
                    f"{header.path}: its series lacks this slice, at {at:.2f} mm along the normal, between others: "
                    f"{header.lost}"
                )
            beyond += 1
    if not beyond:
        return None
    return f"slices at its ends that can't be read: {beyond}"


def _picture(frames: Sequence[Slice]) -> Series:
    """Images without a place: one, or the frames of one file behind one another."""
    try:
        columns, rows, _ = frames[0].size
        spacing, remark = frames[0].picture_spacing()
        i, j = spacing or (1.0, 1.0)
        geometry = geometry_of((columns, rows, len(frames)), np.diag([-i, -j, 1.0, 1.0]), frames[0])
    except DataError as error:
        return _refused(frames, str(error))
    notes = ["the file doesn't say where it is in the patient"] if len(frames) == 1 else []
    if len(frames) > 1:
        notes.append(
            f"its {len(frames)} frames have no place in the patient (they are moments, or views), and count as slices"
        )
    if remark:
        notes.append(remark)
    pictures = Series("", tuple(frames), Path(), geometry, False, spacing is not None, tuple(notes))
    return _named(frames, pictures)


def _refused(slices: Sequence[Slice], why: str) -> Series:
    ordered = tuple(sorted(slices, key=lambda each: (str(each.path), each.frame or 0)))
    return _named(ordered, Series("", ordered, Path(), refused=why))


def _named(slices: Sequence[Slice], series: Series) -> Series:
    """The series with its name and path: the file, or the folder of all its files, and the series' number."""
    header = slices[0].header
    files = series.files
    path = files[0] if len(files) == 1 else Path(os.path.commonpath([each.parent for each in files]))
    stem = path.resolve().name
    if len(files) == 1 and path.suffix.lower() in OF_DICOM:
        stem = path.stem
    stem = re.sub(r"[^\w.-]+", "_", stem).strip("._") or "image"
    try:
        number = number_of(header.tags, "SeriesNumber", header.path)
    except DataError:
        number = None
    name = stem if number is None else f"{stem}_s{int(number):03}"
    return replace(series, name=name, path=path)
