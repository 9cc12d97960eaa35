"""What images are normalised by before a backbone sees them: measured on those trained on, where a recipe says so."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from segkit.errors import RecipeError
from segkit.labelled.images import LabelledImages
from segkit.model import IMAGENET_MEAN, IMAGENET_STD
from segkit.pretraining.recipe import PretrainDataRecipe

MEASURED = 2000  # images, evenly spread over those trained on
FLAT = 1e-3  # deviation of a channel, of 0..1, that counts as none


def image_normalisation(
    data: PretrainDataRecipe, images: LabelledImages, chosen: NDArray[np.int64]
) -> tuple[Sequence[float], Sequence[float]]:
    """Mean and standard deviation of each channel in 0..1, as ``data.normalisation`` asks for.

    Args:
        data: the recipe's section.
        images: where the images are from.
        chosen: indices of those trained on.

    Raises:
        RecipeError: ImageNet's, but not three channels.
        DataError: an image can't be read.
    """
    if data.normalisation == "none":
        return [0.0] * data.channels, [1.0] * data.channels
    if data.normalisation == "imagenet":
        if data.channels != 3:
            raise RecipeError(f"data.normalisation=imagenet is for 3 channels, not {data.channels}; use dataset")
        return IMAGENET_MEAN, IMAGENET_STD
    spread = chosen[np.linspace(0, len(chosen) - 1, min(MEASURED, len(chosen))).round().astype(np.int64)]
    count, total, squares = 0, np.zeros(data.channels), np.zeros(data.channels)
    for index in spread:
        pixels = images.read(int(index), data.channels).reshape(-1, data.channels) / 255
        count += len(pixels)
        total += pixels.sum(0)
        squares += (pixels**2).sum(0)
    mean = total / count
    std = np.sqrt(np.maximum(squares / count - mean**2, 0))
    return mean.tolist(), np.where(std < FLAT, 1.0, std).tolist()
