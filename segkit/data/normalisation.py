"""Mean and standard deviation of a dataset's channels."""

from collections.abc import Sequence

import numpy as np

from segkit.data.folder import Sample
from segkit.data.reader import Reader

PICTURES = 200  # evenly spread over the split; more change the third digit at most


def channel_statistics(samples: Sequence[Sample], reader: Reader) -> tuple[list[float], list[float]]:
    """Per-channel mean and standard deviation over all pixels of the pictures, in the reader's 0..1.

    At most 200 pictures are read, evenly spread. A constant channel gets a standard deviation of 1.
    """
    count, total, square = 0, np.zeros(reader.channels), np.zeros(reader.channels)
    for sample in samples[:: -(-len(samples) // PICTURES)]:
        pixels = reader.read(sample.image).reshape(-1, reader.channels).astype(np.float64)
        count += len(pixels)
        total += pixels.sum(0)
        square += np.square(pixels).sum(0)
    mean = total / count
    deviation = np.sqrt(np.maximum(square / count - mean**2, 0))
    return mean.round(6).tolist(), np.where(deviation > 1e-6, deviation, 1.0).round(6).tolist()
