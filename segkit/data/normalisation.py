"""Mean and standard deviation of a dataset's channels, and of its depth."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from segkit.data.depth import resized_depth
from segkit.data.depth_encoding import NEAREST
from segkit.data.folder import DatasetFolder, Sample
from segkit.data.model_input import read_image
from segkit.data.picture import open_picture
from segkit.data.reader import Reader
from segkit.errors import DataError
from segkit.moments import Moments

PICTURES = 200  # evenly spread over the split; more change the third digit at most
FLAT = 1e-6  # deviation of a channel of 0..1, or a share of depth's mean, that counts as none


def channel_statistics(
    samples: Sequence[Sample], folder: DatasetFolder, reader: Reader
) -> tuple[list[float], list[float]]:
    """Per-channel mean and standard deviation over all pixels of the pictures, in the reader's 0..1.

    At most 200 pictures, or slices of volumes, are read, evenly spread. A constant channel gets a standard deviation of
    1.
    """
    moments = Moments(reader.channels)
    pictures = folder.slices(samples, reader)
    for sample in pictures[:: -(-len(pictures) // PICTURES)]:
        moments.add(read_image(folder, sample, reader))
    return moments.mean.round(6).tolist(), moments.deviation(FLAT).round(6).tolist()


def depth_statistics(
    samples: Sequence[Sample], folder: DatasetFolder, *, inverse: bool = False, size: tuple[int, int] | None = None
) -> tuple[list[float], list[float]]:
    """Per-channel mean and standard deviation over all measured pixels: metres, or values as they are in the files.

    At most 200 depth maps are read, evenly spread. A constant channel gets a standard deviation of 1.

    Args:
        samples: pictures of the training; those without depth don't count.
        folder: the dataset they are from.
        inverse: of 1 / metres instead.
        size: (height, width) that whole pictures are brought to, and their depth with them, which divides metres by the
            zoom; None: as depth lies in its files.

    Raises:
        DataError: there is no depth, nothing says what its values mean, a file can't be used, or nothing is measured;
            the inverse is asked of what isn't in metres.
    """
    channels, unit = folder.depth_channels, folder.depth_format
    maps = [sample for sample in samples if sample.depth is not None]
    if unit is None or not maps:
        raise DataError(f"{folder.path}: none of the {len(samples)} pictures asked for has a file in depth/")
    if inverse and not unit.metric:
        raise DataError(f"{folder.path}: depth is {unit.unit}, not in metres: its inverse means nothing")
    moments = Moments(channels)
    for sample in maps[:: -(-len(maps) // PICTURES)]:
        if size is None:
            depth = folder.stored_depth(sample)
        else:
            on_picture = folder.read_depth(sample, open_picture(sample.image).shape[:2])
            depth = resized_depth(on_picture, size, metric=unit.metric)
        assert depth is not None
        found = depth[depth[..., -1] > 0][:, :-1].astype(np.float64)
        moments.add(1 / np.maximum(found, NEAREST) if inverse else found)  # as the encoding has it
    if not moments.count:
        raise DataError(
            f"{folder.path / 'depth'}: nothing is measured in any of the {len(maps)} files; check depth_unit and "
            "depth_invalid in dataset.yaml"
        )
    return _rounded(moments.mean), _rounded(moments.deviation(FLAT * np.abs(moments.mean)))


def _rounded(values: NDArray[np.float64]) -> list[float]:
    """To seven digits, as many as float32 has: values of depth may be of any size."""
    return [float(f"{value:.7g}") for value in values]
