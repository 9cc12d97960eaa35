"""From what the user named to the images to predict, and where the outputs of each go."""

import glob
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from segkit.data.listing import is_dicom
from segkit.data.reader import PICTURES
from segkit.data.suffixes import DICOM, VOLUMES, stem_of, suffix_of
from segkit.errors import DataError, UsageError
from segkit.given_path import given_path, spelled, why_no_text
from segkit.prediction.manifest import is_run

if TYPE_CHECKING:
    from segkit.medical.dicom_series import Series

HEADERS = (".mhd", ".nhdr")
"""Suffixes of headers that name the file of the voxels."""


@dataclass(frozen=True)
class Source:
    """One image to predict, or one name that leads to none.

    Attributes:
        path: the image's file, or what was named.
        folder: where its outputs go.
        place: the path below the closest folder that holds all inputs, with forward slashes; else what was named.
        error: why it can't be predicted, None where it can.
        series: the DICOM series that it is; None for every other image.
        skipped: why nothing is made of it, where that is no fault, such as a localizer's; None for an image.
        alias: what its outputs are called in the place of its own name; None where they have that.
    """

    path: Path
    folder: Path
    place: str
    error: str | None = None
    series: "Series | None" = None
    skipped: str | None = None
    alias: str | None = None

    @property
    def name(self) -> str:
        """The stem of its outputs' names."""
        return self.alias or (self.series.name if self.series is not None else stem_of(self.path))

    @property
    def suffix(self) -> str:
        """Of its file, which those of its outputs follow."""
        return DICOM if self.series is not None else suffix_of(self.path)

    @property
    def files(self) -> tuple[Path, ...]:
        """What it is read from."""
        if self.series is not None:
            return self.series.files
        return (self.path,) if self.suffix not in HEADERS else (self.path, *_voxels(self.path))

    @property
    def found(self) -> bool:
        """Whether there is an image to predict."""
        return self.error is None and self.skipped is None


def expand(sources: str | Path | Iterable[str | Path], out: str | Path) -> list[Source]:
    """Every image named, once, in the order of naming; then DICOM series; then the names that lead to no image.

    A folder gives its pictures and volumes (by suffix; DICOM by content), those of its subfolders, links among them,
    too, sorted; a pattern such as ``scans/*.png`` or ``scans/**/*.png`` what it matches, sorted. Hidden files are
    passed over in both, and so are the outputs of earlier runs into ``out`` or another folder inside.

    Outputs mirror the inputs' folders below the closest folder that holds all that was named, of a pattern the one
    before its first ``*``: ``a/x.png`` and ``b/x.png`` go to ``out/a`` and ``out/b``, the files of one folder to
    ``out`` itself.

    Raises:
        UsageError: ``out`` is one of the named folders, so that masks would lie among the images; no folder holds
            all that was named (different drives); or something is no name.
    """
    out = given_path(out, "out")
    found: dict[Path, Path] = {}  # absolute → as named; keeps the order, drops doubles
    nothing: list[Source] = []
    roots: list[Path] = []
    for path in named_paths(sources):
        files, error = _files(path, out)
        if not files:
            nothing.append(Source(path, out, path.as_posix(), error))
        if path.is_dir():
            roots.append(_absolute(path))
        elif path.is_file() or not glob.has_magic(str(path)):
            roots.extend(_absolute(file).parent for file in files)
        elif files:
            roots.append(_absolute(_fixed(path)))
        for file in files:
            found.setdefault(_absolute(file), file)
    try:
        root = Path(os.path.commonpath(roots)) if roots else Path()
    except ValueError:
        raise UsageError("the images are on different drives; predict those of each drive by themselves") from None
    places = {place.relative_to(root): file for place, file in found.items()}
    dicom = {
        file: None for file in places.values() if suffix_of(file) not in PICTURES and file.is_file() and is_dicom(file)
    }
    pictures = {place: file for place, file in places.items() if file not in dicom}
    images = [_source(file, out / place.parent, place.as_posix()) for place, file in pictures.items()]
    return images + (_of_series(list(dicom), root, out) if dicom else []) + nothing


def named_paths(sources: object) -> list[Path]:
    """What was named, one or several; UsageError for what is no name."""
    several = list(sources) if isinstance(sources, Iterable) and not isinstance(sources, str | bytes) else [sources]
    return [given_path(each, "sources") for each in several]


def _of_series(files: Sequence[Path], root: Path, out: Path) -> list[Source]:
    """The series that DICOM files make, in the order of their places; then the files that are in none."""
    from segkit.medical.dicom_series import find_series

    found = find_series(files)
    sources = []
    for series in found.series:
        place = _absolute(series.path).relative_to(root)
        folder = place if series.path.is_dir() else place.parent
        source = _source(series.path, out / folder, (folder / series.name).as_posix())
        sources.append(replace(source, series=series, error=source.error or series.refused))
    for left in found.left_out:
        place = _absolute(left.path).relative_to(root)
        sources.append(replace(_source(left.path, out / place.parent, place.as_posix()), skipped=left.why))
    return sources


def _source(path: Path, folder: Path, place: str) -> Source:
    """A name that isn't text can't be written into the manifest, so that its picture is refused."""
    error = why_no_text(place)
    return Source(path, folder, place if error is None else spelled(place), error)


def without_collisions(sources: list[Source], targets: Callable[[Source], Iterable[Path]]) -> list[Source]:
    """The sources, with an error where an output would fall on an input, or on an output of a source before it."""
    inputs = identities(sources)
    taken: dict[str, Path] = {}
    checked = []
    for source in sources:
        paths = list(targets(source)) if source.found else []
        own = Counter(map(_called, paths))
        for path in paths:
            if own[_called(path)] > 1:
                source = replace(source, error=f"{source.path}: {path} would be the output of two classes; rename one")
                break
            if os.path.exists(path) and identity(path) in inputs:  # noqa: PTH110  Path's raises where a name is too long
                problem = f"{path} is one of the images to predict; choose another output folder"
            elif _called(path) in taken:
                problem = f"{path} would be an output of {taken[_called(path)]}, too; rename one of the two"
            else:
                continue
            source = replace(source, error=f"{source.path}: {problem}")
            break
        else:
            taken.update(dict.fromkeys(map(_called, paths), source.path))
        checked.append(source)
    return checked


def _called(path: Path) -> str:
    """The path as far as file systems tell names apart: those of macOS and Windows don't by capitals."""
    return str(path).casefold() if sys.platform in ("darwin", "win32") else str(path)


def _files(path: Path, out: Path) -> tuple[list[Path], str]:
    """The images one name stands for, and what to say where there are none."""
    if path.is_dir():
        if path.resolve() == out.resolve():
            raise UsageError(f"{path}: masks would lie among the images; choose another output folder")
        known = ", ".join((*PICTURES, *VOLUMES))
        return _images(_below(path, out), path, out), f"{path}: no pictures in it ({known})"
    if path.is_file() or not glob.has_magic(str(path)):
        odd = path.exists() and not path.is_file()  # a pipe would be waited for
        return ([], f"{path}: neither a file nor a folder") if odd else ([path], "")
    fixed = _fixed(path)
    if fixed.resolve() == out.resolve():
        raise UsageError(f"{path}: masks would lie among the images; choose another output folder")
    rest = path.parts[len(fixed.parts) :]
    pattern = str(Path(glob.escape(str(fixed)), *rest))
    matches = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207  Path.glob takes no absolute pattern
    return _images(map(Path, matches), fixed, out), f"{path}: no picture matches"


def _fixed(pattern: Path) -> Path:
    """The folder before the first part of a pattern that stands for several; brackets may be in a folder's name."""
    fixed = Path()
    for part in pattern.parts[:-1]:
        if glob.has_magic(part) and not (fixed / part).is_dir():
            break
        fixed /= part
    return fixed


def _below(folder: Path, out: Path) -> list[Path]:
    """The files in a folder and all below it, each folder once: links to folders come last.

    Hidden ones are left out, and folders that an earlier run wrote into.
    """
    inside = not folder.resolve().is_relative_to(out.resolve())
    seen: set[tuple[int, int]] = {identity(out)} if out.is_dir() and inside else set()
    files: list[Path] = []
    links: list[Path] = []
    waiting = [folder]
    while waiting or links:
        here = waiting.pop() if waiting else links.pop(0)
        if identity(here) in seen:
            continue
        seen.add(identity(here))
        with suppress(PermissionError):
            if here != folder and is_run(here):
                continue
            for entry in sorted(here.iterdir()):
                if not entry.name.startswith("."):
                    (files if not entry.is_dir() else links if entry.is_symlink() else waiting).append(entry)
    return sorted(files)


def _images(files: Iterable[Path], folder: Path, out: Path) -> list[Path]:
    """The pictures and volumes among files below ``folder`` that are neither hidden nor outputs of an earlier run."""
    inside = out.resolve().is_relative_to(folder.resolve()) and out.resolve() != folder.resolve()
    return [
        file
        for file in files
        if (suffix_of(file) in (*PICTURES, *VOLUMES) or is_dicom(file))
        and (file.is_file() or (file.is_symlink() and not file.exists()))  # a link to nothing is a lost picture
        and not any(part.startswith(".") for part in file.relative_to(folder).parts)
        and not (inside and file.resolve().is_relative_to(out.resolve()))
    ]


def _voxels(header: Path) -> tuple[Path, ...]:
    """The file of the voxels that a header names; none where that can't be read, which whoever reads it will say."""
    from segkit.medical.itk_header import read_text_header

    try:
        data = read_text_header(header).data
    except (DataError, OSError):
        return ()
    return () if data == header else (data,)


def _absolute(path: Path) -> Path:
    """Without following links: a link's own name and place say where its output goes."""
    return Path(os.path.abspath(path))  # noqa: PTH100  Path.absolute() keeps "..", resolve() follows links


def identities(sources: Iterable[Source]) -> set[tuple[int, int]]:
    """Of all files that the sources are read from."""
    return {identity(file) for source in sources for file in source.files if file.is_file()}


def identity(path: Path) -> tuple[int, int]:
    """The same for two names of one file: links, or other capitals where the file system doesn't tell them apart."""
    status = path.stat()
    return status.st_dev, status.st_ino
