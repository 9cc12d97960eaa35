"""Masks on their picture's pixels."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segkit.data.masks import Ids
from segkit.data.resize import resized_ids
from segkit.data.turned import Number, turned_to_fit
from segkit.errors import DataError


def on_picture(ids: Ids, size: tuple[int, int], file: Path, image: Path) -> Ids:
    """Return a mask [..., H, W] on its picture's pixels; DataError where its size is none that the picture has."""
    return resized_mask(ids, size) if of_level(ids, image) else fit(ids, size, file, image)


def of_level(ids: NDArray[np.generic], image: Path) -> bool:
    """Whether a mask [..., H, W] has the size of one of a slide's levels."""
    from segkit.medical.slide import slide_of

    slide = slide_of(image)
    return slide is not None and ids.shape[-2:] in [(level.height, level.width) for level in slide.levels]


def resized_mask(ids: Ids, size: tuple[int, int]) -> Ids:
    """A mask [H, W] or [K, H, W] of another size, by nearest neighbours."""
    if ids.ndim == 2:
        return resized_ids(ids, size)
    return resized_ids(ids.transpose(1, 2, 0).copy(), size).transpose(2, 0, 1).copy()


def fit(ids: NDArray[Number], size: tuple[int, int], file: Path, image: Path) -> NDArray[Number]:
    """Return the mask turned as its picture is by its EXIF tag, where that makes the sizes agree; else DataError."""
    turned = turned_to_fit(ids, size, image)
    if turned is None:
        raise DataError(f"{file}: mask is {size_in_words(ids)}, its picture {size[1]}×{size[0]} (width × height)")
    return turned


def size_in_words(ids: NDArray[np.generic]) -> str:
    """Width × height of maps [..., H, W]."""
    return f"{ids.shape[-1]}×{ids.shape[-2]}"
