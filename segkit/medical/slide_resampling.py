"""Pictures brought to a resolution, some rows at a time: by area where they shrink, linearly where they grow."""

from math import ceil, floor

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from segkit.data.picture import Picture
from segkit.data.reader import Pixels
from segkit.errors import DataError
from segkit.medical.slide_resolution import EQUAL

MOST_ENLARGED = 4.0  # times: beyond that the resolution said is more likely wrong than of any use
AT_ONCE = 1 << 22  # values of the original that are resampled together, as float32


def brought_to(picture: Picture, mpp: float) -> Picture:
    """The picture at a resolution: itself where it differs by 5 % at most, or where its own isn't known.

    Else each pixel is the mean over what it covers, exactly; where the picture grows, values are interpolated linearly
    between the centres of its pixels. Borders stay where they are, so the true resolution differs from ``mpp`` by what
    a side's whole number of pixels takes.

    Raises:
        DataError: it would be enlarged more than 4 times.
    """
    if picture.mpp is None:
        unknown = f"no resolution in the file: taken as it is, for {mpp:g} microns per pixel"
        return picture if unknown in picture.notes else picture.with_note(unknown)
    if all(abs(own - mpp) <= EQUAL * mpp for own in picture.mpp):
        return picture
    enlarged = max(picture.mpp) / mpp
    if enlarged > MOST_ENLARGED:
        raise DataError(
            f"{picture.path or 'the picture'}: has {max(picture.mpp):.4g} microns per pixel; the model takes {mpp:g}, "
            f"{enlarged:.3g} times as fine. If the file is wrong, say its resolution by mpp (on the command line --mpp)"
        )
    height, width, _ = picture.shape
    size = max(1, round(height * picture.mpp[0] / mpp)), max(1, round(width * picture.mpp[1] / mpp))
    true = picture.mpp[0] * height / size[0], picture.mpp[1] * width / size[1]
    resampled = Picture(picture.path, Resampled(picture, size), mpp=true, notes=picture.notes)
    if enlarged <= 1 + EQUAL:
        return resampled
    return resampled.with_note(f"{max(picture.mpp):.4g} microns per pixel in the file: enlarged to the model's {mpp:g}")


class Resampled:
    """A picture's pixels [height, W, C] at another size, in ranges of rows.

    Args:
        picture: what is resampled.
        size: height and width to bring it to.
    """

    def __init__(self, picture: Picture, size: tuple[int, int]) -> None:
        self._picture = picture
        self.height = size[0]
        self._across = weights(picture.shape[1], size[1], 0, size[1])[1]

    def rows(self, top: int, bottom: int) -> Pixels:
        """Pixels [bottom - top, W, C] of the picture's type, rounded where that is of whole numbers."""
        height, width, channels = self._picture.shape
        shrinking = max(1.0, height / self.height)
        together = max(1, int(AT_ONCE / (shrinking * width * channels)))
        parts = [self._part(first, min(first + together, bottom)) for first in range(top, bottom, together)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _part(self, top: int, bottom: int) -> Pixels:
        height, width, channels = self._picture.shape
        first, down = weights(height, self.height, top, bottom)
        block = max(1, AT_ONCE // (width * channels))  # one row alone may be a mean over very many
        shrunk, lowest, highest = np.float32(0), np.inf, -np.inf
        for start in range(0, down.shape[1], block):
            pixels = self._picture.rows(first + start, first + min(start + block, down.shape[1])).astype(np.float32)
            shrunk = shrunk + down[:, start : start + block] @ pixels.reshape(len(pixels), -1)
            lowest, highest = min(lowest, pixels.min()), max(highest, pixels.max())
        columns = np.ascontiguousarray(shrunk.reshape(-1, width, channels).transpose(1, 0, 2)).reshape(width, -1)
        found = (self._across @ columns).reshape(-1, bottom - top, channels).transpose(1, 0, 2)
        found = found.clip(lowest, highest)  # which rounding would leave
        if self._picture.dtype.kind == "u":
            found = np.rint(found)
        return np.ascontiguousarray(found.astype(self._picture.dtype))


def weights(before: int, after: int, start: int, stop: int) -> tuple[int, csr_array]:
    """What pixels ``start`` to ``stop`` of ``after`` take of ``before``: the first taken, and weights [taking, taken].

    Each row of the weights has the sum 1.
    """
    step = before / after
    if step >= 1:  # the share of each pixel that lies under the new one
        spans = [(i * before / after, min((i + 1) * before / after, before)) for i in range(start, stop)]
        taken = [range(floor(low), max(min(ceil(high), before), floor(low) + 1)) for low, high in spans]
        shares = [
            [(min(high, j + 1) - max(low, j)) / (high - low) for j in under]
            for (low, high), under in zip(spans, taken, strict=True)
        ]
    else:
        centres = [min(max((i + 0.5) * step - 0.5, 0), before - 1) for i in range(start, stop)]
        taken = [range(floor(centre), min(floor(centre) + 2, before)) for centre in centres]
        shares = [[1 - centre % 1, centre % 1][: len(under)] for centre, under in zip(centres, taken, strict=True)]
    first = taken[0].start
    values: NDArray[np.float32] = np.array([share for row in shares for share in row], np.float32)
    columns = np.array([j - first for under in taken for j in under])
    begins = np.cumsum([0, *(len(under) for under in taken)])
    return first, csr_array((values, columns, begins), shape=(stop - start, taken[-1].stop - first))
