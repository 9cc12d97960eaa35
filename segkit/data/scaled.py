"""A picture as the model sees it, row by row: float32 in 0..1, without ever holding the whole in that form."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segkit.data.picture import Picture
from segkit.data.reader import LOOKED_AT, Pixels, Reader, own_window
from segkit.errors import DataError

AT_ONCE = 512  # rows that are looked at together where all of a picture is


@dataclass(frozen=True, eq=False)
class Scaled:
    """Rows of a picture, as a reader gives them to a model.

    Attributes:
        name: of the picture, for errors.
        size: H and W.
        pixels: of a file, or an array [H, W] or [H, W, C].
        reader: the model's, with the window of this picture.
        lengths: of a volume, voxels and millimetres along each axis, by name; None: the picture's own are meant.
    """

    name: str
    size: tuple[int, int]
    pixels: Picture | Pixels
    reader: Reader
    lengths: dict[str, float] | None = None

    def rows(self, top: int, bottom: int) -> NDArray[np.float32]:
        """Rows from ``top`` up to, but not including, ``bottom``: float32 [bottom - top, W, channels] in 0..1.

        Raises:
            DataError: they can't be read, or don't fit the reader.
        """
        try:
            return self.reader.scale(raw_rows(self.pixels, self.reader, top, bottom))
        except ValueError as error:
            raise DataError(f"{self.name}: {error}") from error

    def whole(self) -> NDArray[np.float32]:
        """All rows: four bytes a value."""
        return self.rows(0, self.size[0])


def scaled(pixels: Picture | Pixels, reader: Reader, name: str) -> Scaled:
    """A picture's rows; its own window, if the reader wants that, is found by going through it once.

    Raises:
        DataError: its channels aren't those of the reader.
    """
    size = (pixels.shape[0], pixels.shape[1])
    try:
        raw_rows(pixels, reader, 0, 1)
        if reader.window == "picture":
            reader = reader.model_copy(update={"window": own_window(_sample(pixels, reader, size))})
    except ValueError as error:
        raise DataError(f"{name}: {error}") from error
    return Scaled(name, size, pixels, reader)


def raw_rows(pixels: Picture | Pixels, reader: Reader, top: int, bottom: int) -> Pixels:
    """Rows with the reader's channels, not scaled; raises ValueError where channels or values aren't an image's."""
    found = pixels.rows(top, bottom) if isinstance(pixels, Picture) else np.asarray(pixels[top:bottom])
    if found.dtype.kind == "f":
        found = found.astype(np.float32, copy=False)
        if not np.isfinite(found).all():
            raise ValueError("holds values that are not finite (NaN or infinity)")
    return reader.channels_of(found)


def _sample(pixels: Picture | Pixels, reader: Reader, size: tuple[int, int]) -> Pixels:
    """The values that ``own_window`` takes from the whole picture, so that its window is the same, read in parts."""
    height, width = size
    step = -(-height * width * reader.channels // LOOKED_AT)
    taken = []
    for top in range(0, height, AT_ONCE):
        values = raw_rows(pixels, reader, top, min(top + AT_ONCE, height)).reshape(-1)
        taken.append(values[-top * width * reader.channels % step :: step])
    return np.concatenate(taken)
