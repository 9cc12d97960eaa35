"""A window cut out of a picture, and out of what lies on it."""

from collections.abc import Mapping

import numpy as np

from segkit.data.masks import IGNORE, Ids
from segkit.data.reader import Pixels


def cut(
    image: Pixels, layers: Mapping[str, Ids], corner: tuple[int, int], size: tuple[int, int]
) -> tuple[Pixels, dict[str, Ids]]:
    """A window of a picture and of its mask, by name; outside, the picture goes on as its reflection, masks are 255."""
    rows_and_columns, outside = [], []
    for start, length, side in zip(corner, size, image.shape[:2], strict=True):
        first, last = max(start, 0), min(start + length, side)
        rows_and_columns.append(slice(first, last))
        outside.append((first - start, start + length - last))
    inside = tuple(rows_and_columns)
    if not any(map(any, outside)):
        found = {name: np.ascontiguousarray(layer[inside]) for name, layer in layers.items()}
        return np.ascontiguousarray(image[inside]), found
    image = np.pad(image[inside], [*outside, (0, 0)], mode="reflect")
    return image, {
        name: np.pad(layer[inside], [*outside, (0, 0)][: layer.ndim], constant_values=IGNORE)
        for name, layer in layers.items()
    }
