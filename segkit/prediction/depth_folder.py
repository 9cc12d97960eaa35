"""A folder of depth files beside the pictures to predict, each the one of the same stem's."""

from glob import escape
from pathlib import Path, PurePosixPath

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
        self._listed: dict[Path, dict[str, Path]] = {}

    def of(self, source: Source) -> Path | None:
        """The file of a picture's depth; None where it has none.

        Raises:
            DataError: two files have its stem, or one of a type that isn't read as depth.
        """
        inside = self.folder / PurePosixPath(source.place).parent
        found = self._stems(inside).get(source.path.stem) if source.error is None else None
        found = found or self._stems(self.folder).get(source.path.stem)
        if found is None:
            for file in (
                *inside.glob(f"{escape(source.path.stem)}.*"),
                *self.folder.glob(f"{escape(source.path.stem)}.*"),
            ):
                raise DataError(f"{file}: not of a type that is read as depth ({', '.join(DEPTHS)}); export it as one")
        return found

    def _stems(self, folder: Path) -> dict[str, Path]:
        if folder not in self._listed:
            there = folder.is_dir() and any(file.suffix.lower() in DEPTHS for file in folder.iterdir())
            self._listed[folder] = by_stem(folder, DEPTHS) if there else {}
        return self._listed[folder]
