"""A folder of depth files beside the pictures to predict, each the one of the same stem's."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from segkit.data.depth import DEPTHS
from segkit.data.listing import by_stem
from segkit.data.suffixes import stem_of
from segkit.errors import DataError
from segkit.prediction.sources import Source


@dataclass(frozen=True)
class Depths:
    """What a folder holds for pictures, by the picture's path.

    Attributes:
        files: of depth.
        notes: why a picture is without, where there is a file of its stem.
    """

    files: dict[Path, Path] = field(default_factory=dict)
    notes: dict[Path, tuple[str, ...]] = field(default_factory=dict)


class DepthFolder:
    """Where the depth of each picture is.

    Of the picture ``a/x.png`` it is ``a/x.EXT`` in the folder if that mirrors the pictures' folders, else ``x.EXT``.

    Args:
        folder: of PNG, TIFF and NPY files.

    Raises:
        DataError: there is no such folder.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise DataError(f"{folder}: {'a file; name the folder' if self.folder.exists() else 'no such folder'}")
        self._listed: dict[Path, _Files] = {}

    def of(self, sources: Iterable[Source]) -> Depths:
        """The depth of pictures. A file that lies where one picture's would is no other picture's, too.

        Raises:
            DataError: two files of a folder have one stem; or pictures of different folders have the same stem, and one
                file that could be of each.
        """
        own: dict[Path, Path] = {}
        others: list[Source] = []
        for source in sources:
            file = self._files(self._place(source)).read.get(stem_of(source.path))
            if file is not None:
                own[source.path] = file
            else:
                others.append(source)
        found, taken, shared = Depths(own), set(own.values()), dict[Path, Path]()
        for source in others:
            path = source.path
            file = self._files(self.folder).read.get(stem_of(path))
            if file is None:
                found.notes[path] = self._strange(source)
            elif file in taken:
                found.notes[path] = ("the depth of its stem lies where another picture's does, and is that one's",)
            elif (first := shared.setdefault(file, path)).parent != path.parent:
                raise DataError(
                    f"{file}: could be the depth of {first} and of {path}; put it into a subfolder that is called as "
                    "its picture's"
                )
            else:
                found.files[path] = file
        return found

    def _place(self, source: Source) -> Path:
        """Where a picture's depth is if the folder mirrors the pictures' folders."""
        return self.folder / PurePosixPath(source.place).parent

    def _strange(self, source: Source) -> tuple[str, ...]:
        """What to say of a picture that has a file of its stem, but none that is read."""
        found = (self._files(place).others.get(stem_of(source.path)) for place in (self._place(source), self.folder))
        suffixes = {file.suffix or "a file": None for file in found if file is not None}
        return tuple(
            f"of its stem there is {suffix} alone, not read as depth ({', '.join(DEPTHS)})" for suffix in suffixes
        )

    def _files(self, folder: Path) -> "_Files":
        if folder not in self._listed:
            entries = list(folder.iterdir()) if folder.is_dir() else []
            files = [file for file in entries if not file.is_dir()]
            there = any(file.suffix.lower() in DEPTHS for file in files)
            others = {stem_of(file): file for file in files if file.suffix.lower() not in DEPTHS}
            self._listed[folder] = _Files(by_stem(folder, DEPTHS) if there else {}, others)
        return self._listed[folder]


class _Files(NamedTuple):
    """Those of a folder by stem: read as depth, and all others."""

    read: dict[str, Path]
    others: dict[str, Path]
