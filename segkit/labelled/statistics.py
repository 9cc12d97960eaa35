"""Mean and standard deviation of labelled images' channels."""

import numpy as np
from numpy.typing import NDArray

from segkit.labelled.images import LabelledImages
from segkit.moments import Moments

MEASURED = 2000  # images, evenly spread over those asked for
FLAT = 1e-3  # deviation of a channel, of 0..1, that counts as none


def channel_statistics(
    images: LabelledImages, chosen: NDArray[np.int64], channels: int
) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel in 0..1, over all pixels of at most 2,000 images, evenly spread.

    A constant channel gets a standard deviation of 1.

    Args:
        images: where the images are from.
        chosen: indices of those trained on.
        channels: that they are read with.

    Raises:
        DataError: an image can't be read.
    """
    spread = chosen[np.linspace(0, len(chosen) - 1, min(MEASURED, len(chosen))).round().astype(np.int64)]
    moments = Moments(channels)
    for index in spread:
        moments.add(images.read(int(index), channels) / 255)
    return moments.mean.tolist(), moments.deviation(FLAT).tolist()
