"""Mean and standard deviation of channels, over more pixels than are held at once."""

import numpy as np
from numpy.typing import NDArray


class Moments:
    """Running sums of pixels and of their squares, in float64.

    Args:
        channels: how many.
    """

    def __init__(self, channels: int) -> None:
        self.count, self._sums, self._squares = 0, np.zeros(channels), np.zeros(channels)

    def add(self, pixels: NDArray[np.floating]) -> None:
        """Further pixels, ``[..., C]``."""
        each = pixels.reshape(-1, len(self._sums)).astype(np.float64)
        self.count += len(each)
        self._sums += each.sum(0)
        self._squares += np.square(each).sum(0)

    @property
    def mean(self) -> NDArray[np.float64]:
        """Of each channel, ``[C]``."""
        return self._sums / self.count

    def deviation(self, flat: float | NDArray[np.float64]) -> NDArray[np.float64]:
        """The standard deviation of each channel, ``[C]``; 1 for channels where it isn't above ``flat``: constant."""
        found = np.sqrt(np.maximum(self._squares / self.count - self.mean**2, 0))
        return np.where(found > flat, found, 1.0)
