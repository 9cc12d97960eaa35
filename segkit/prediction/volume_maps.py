"""What a model says of a volume: slice by slice in each plane, the mean over the planes on the volume's grid."""

from collections.abc import Callable, Generator, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segkit.data.cases import Case
from segkit.data.reader import Reader
from segkit.data.resize import within_range
from segkit.data.scaled import Scaled
from segkit.data.slices import Plane

SliceMaps = Callable[[Iterator[NDArray[np.float32]], tuple[int, int]], Generator[NDArray[np.float32], None, None]]
"""Maps [C', H, W] of pictures [H, W, C] of one size, in their order."""
ROWS = 1 << 22  # values of a map that are given at a time


def volume_maps(of_slices: SliceMaps, case: Case) -> NDArray[np.float32]:
    """Maps float32 [C', I, J, K] of a volume on its own grid.

    Slices that were brought to another spacing for the model come back to their own by linear interpolation.
    """
    total: NDArray[np.float32] | None = None
    for number, plane in enumerate(case.planes, start=1):
        turn = case.geometry.turn(plane)
        maps_of_slices = of_slices(_pictures(case, plane), case.size(plane))
        for index, maps in enumerate(maps_of_slices):
            if total is None:
                total = np.zeros((len(maps), *case.geometry.shape), np.float32)
            for mean, found in zip(total, maps, strict=True):
                place = turn.of(mean)[index]  # [H, W], a view
                here = _to(found, (place.shape[0], place.shape[1]))
                place += (here - place) / number
    assert total is not None
    return total


def tall(maps: NDArray[Any]) -> NDArray[Any]:
    """Maps [..., I, J, K] as those of one tall picture, [..., I · J, K]."""
    return maps.reshape(*maps.shape[:-3], -1, maps.shape[-1])


def tall_scaled(case: Case) -> Scaled:
    """A volume as its model sees it, its voxels as one tall picture."""
    height, width, channels = case.shape
    values = case.values.reshape(height, width, channels)
    lengths = {f"voxels along {axis}": float(count) for axis, count in zip("IJK", case.geometry.shape, strict=True)}
    if case.spacing is not None:
        lengths |= {f"millimetres along {axis}": length for axis, length in zip("IJK", case.spacing, strict=True)}
    return Scaled(case.name, (height, width), values, Reader(channels=channels), lengths)


def tall_rows(maps: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    """Rows of the tall picture that maps [C', I, J, K] are of, each [C', rows, K]."""
    flat = tall(maps)
    step = max(1, ROWS // (flat.shape[0] * flat.shape[2]))
    for top in range(0, flat.shape[1], step):
        yield flat[:, top : top + step]


def _pictures(case: Case, plane: Plane) -> Iterator[NDArray[np.float32]]:
    return (case.picture(plane, index) for index in range(case.count(plane)))


def _to(found: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    if found.shape == size:
        return found
    resized: Tensor = within_range(torch.from_numpy(np.ascontiguousarray(found))[None, None], size)
    return resized[0, 0].numpy()
