"""Masks and depth as their picture lies, whose EXIF tag may say that it is turned."""

from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from segkit.data.depth import Depth
from segkit.data.reader import TURNS, orientation_of

Number = TypeVar("Number", bound=np.number)


def turned_to_fit(maps: NDArray[Number], size: tuple[int, int], image: Path) -> NDArray[Number] | None:
    """Return maps [..., H, W] turned as their picture is by its EXIF tag; None where that doesn't give its size."""
    orientation = orientation_of(image) if maps.shape[-2:] == size[::-1] else 1
    if orientation < 5:
        return None
    turned = np.stack([TURNS[orientation](layer) for layer in maps.reshape(-1, *maps.shape[-2:])])
    return np.ascontiguousarray(turned.reshape(*maps.shape[:-2], *size), dtype=maps.dtype)


def depth_on(depth: Depth, size: tuple[int, int], image: Path | None) -> Depth | None:
    """Return depth [H, W, C + 1] of a picture's size, turned as its EXIF tag turns it; None where it has another."""
    if depth.shape[:2] == size or image is None:
        return depth if depth.shape[:2] == size else None
    planes = turned_to_fit(depth.transpose(2, 0, 1), size, image)
    return None if planes is None else np.ascontiguousarray(planes.transpose(1, 2, 0))
