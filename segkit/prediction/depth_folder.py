"""A folder of depth files beside the pictures to predict, each the one of the same stem's."""

from pathlib import Path, PurePosixPath
from typing import NamedTuple

from segkit.data.depth import DEPTHS
from segkit.data.listing import by_stem
from segkit.errors import DataError
from segkit.prediction.sources import Source


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

    def of(self, source: Source) -> Path | None:
        """The file of a picture's depth; None where it has none.

        Raises:
            DataError: two files have its stem, or one of a type that isn't read as depth.
        """
        stem, places = source.path.stem, [self.folder]
        if source.error is None:
            places.insert(0, self.folder / PurePosixPath(source.place).parent)
        for place in places:
            if stem in (files := self._files(place).read):
                return files[stem]
        for place in places:
            if stem in (files := self._files(place).others):
                kinds = ", ".join(DEPTHS)
                raise DataError(f"{files[stem]}: not of a type that is read as depth ({kinds}); export it as one")
        return None

    def _files(self, folder: Path) -> "_Files":
        if folder not in self._listed:
            entries = list(folder.iterdir()) if folder.is_dir() else []
            there = any(file.suffix.lower() in DEPTHS for file in entries)
            others = {file.stem: file for file in entries if file.suffix.lower() not in DEPTHS and file.is_file()}
            self._listed[folder] = _Files(by_stem(folder, DEPTHS) if there else {}, others)
        return self._listed[folder]


class _Files(NamedTuple):
    """Those of a folder by stem: read as depth, and all others."""

    read: dict[str, Path]
    others: dict[str, Path]
