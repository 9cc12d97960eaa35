"""A picture of a dataset as a model takes it, with its second modality behind it where the model takes one."""

import numpy as np
from numpy.typing import NDArray

from segkit.data.cases import Case
from segkit.data.depth import Depth
from segkit.data.folder import DatasetFolder, Sample
from segkit.data.reader import Reader
from segkit.errors import DataError


def read_input(folder: DatasetFolder, sample: Sample, reader: Reader) -> NDArray[np.float32] | Case:
    """Return a picture float32 [H, W, reader.inputs]: the image in 0..1 and then, if it is taken, the second modality.

    A whole volume comes as a case, whose ``shape`` is that of the tall picture that its mask is, see
    ``DatasetFolder.read_mask``.

    Raises:
        DataError: a file can't be read or doesn't fit the reader.
    """
    if sample.volume and sample.plane is None:
        return folder.cases.case(sample, reader)
    image = read_image(folder, sample, reader)
    if not reader.depth_channels:
        return image
    depth = depth_for(folder, sample, reader, (image.shape[0], image.shape[1]))
    return np.concatenate([image, depth], axis=2)


def read_image(folder: DatasetFolder, sample: Sample, reader: Reader) -> NDArray[np.float32]:
    """Return a picture, or a volume's slice, as a model sees it: float32 [H, W, channels] in 0..1.

    Raises:
        DataError: it can't be read or doesn't fit the reader.
    """
    return folder.cases.picture(sample, reader) if sample.volume else reader.read(sample.image)


def depth_for(folder: DatasetFolder, sample: Sample, reader: Reader, size: tuple[int, int]) -> Depth:
    """Return a picture's second modality as a reader's model takes it, float32 [H, W, C + 1]; zeros where it has none.

    Raises:
        DataError: its values mean something else than those that the model was trained on.
    """
    if sample.depth is None:
        return np.zeros((*size, reader.depth_channels + 1), dtype=np.float32)
    check_modality(folder, reader)
    return folder.read_depth(sample, size)


def check_modality(folder: DatasetFolder, reader: Reader) -> None:
    """Raise DataError where a dataset's second modality isn't the kind that a model takes."""
    theirs, metric = folder.depth_channels, folder.depth_format is not None and folder.depth_format.metric
    if theirs != reader.depth_channels or metric != reader.metric:
        ours = "metres" if reader.metric else f"{reader.depth_channels} channels in no unit"
        unit = folder.depth_format.unit if folder.depth_format is not None else "no unit"
        raise DataError(
            f"{folder.path}: depth has {theirs} channel{'s' if theirs > 1 else ''} in {unit}; the model takes {ours}"
        )
