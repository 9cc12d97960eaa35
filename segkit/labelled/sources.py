"""Where the pixels of labelled images come from: files of their own, JPEGs in an archive, or arrays."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segkit.data.claims import LIMIT, check_claim, claim_of
from segkit.data.decoding import decode
from segkit.data.reader import TURNS, Pixels, orientation_of, read_pixels
from segkit.errors import DataError
from segkit.one_line import one_line


@dataclass(frozen=True, eq=False)
class Files:
    """A file for each image, ``folder / files[index]``."""

    folder: Path
    files: Sequence[str]

    def pixels(self, index: int) -> Pixels:
        """Pixels [H, W, C], upright."""
        return read_pixels(self.folder / self.files[index])

    def place(self, index: int) -> str:
        """The file."""
        return str(self.folder / self.files[index])


@dataclass(frozen=True, eq=False)
class Jpegs:
    """Pictures end to end in one array of bytes: image i is ``data[offset[i] : offset[i + 1]]``."""

    path: Path
    names: Sequence[str]
    data: NDArray[np.uint8]
    offset: NDArray[np.int64]

    def pixels(self, index: int) -> Pixels:
        """Pixels [H, W, C], upright."""
        data = self.data[self.offset[index] : self.offset[index + 1]].tobytes()
        claim = claim_of(data)
        if claim is None or (data.startswith(b"\xff\xd8") and not data.rstrip(b"\0").endswith(b"\xff\xd9")):
            raise DataError(f"{self.place(index)}: no whole JPEG or PNG; the archive is damaged, copy or make it again")
        check_claim(claim, len(data), Path(self.place(index)), LIMIT)
        try:
            return TURNS[orientation_of(io.BytesIO(data))](decode(data))
        except Exception as error:  # decoders raise what they like
            raise DataError(f"{self.place(index)}: can't be decoded as a picture ({one_line(error)})") from error

    def place(self, index: int) -> str:
        """The archive and the image's name."""
        return f"{self.path}: {self.names[index]}"


@dataclass(frozen=True, eq=False)
class Arrays:
    """Images of one size in memory, uint8 [N, H, W, C]."""

    path: Path
    names: Sequence[str]
    images: NDArray[np.uint8]

    def pixels(self, index: int) -> Pixels:
        """Pixels [H, W, C]."""
        pixels: Pixels = self.images[index]
        return pixels

    def place(self, index: int) -> str:
        """The folder and the image's name."""
        return f"{self.path}: {self.names[index]}"
