"""The image with what was found in it, for people to look at."""

import numpy as np
from numpy.typing import NDArray

FILL = 0.4
"""How much of the class's colour covers its area; contours are opaque."""


def draw_overlay(
    image: NDArray[np.float32], labels: NDArray[np.uint8], palette: NDArray[np.uint8], background: int | None
) -> NDArray[np.uint8]:
    """The image as RGB uint8 [H, W, 3], classes filled with their colours and outlined; background untouched.

    Args:
        image: float32 [H, W, C] in 0..1. Three channels or more: the first three are shown; fewer: the first as grey.
        labels: class ids [H, W], or 0/1 maps [K, H, W], where later classes cover earlier ones.
        palette: uint8 [labels, 3].
        background: the id left as it is, if any; without meaning for [K, H, W].
    """
    channels = image[..., :3] if image.shape[2] >= 3 else np.repeat(image[..., :1], 3, axis=2)
    picture: NDArray[np.uint8] = np.rint(channels.clip(0, 1) * 255).astype(np.uint8)
    if labels.ndim == 3:
        layers = [(found != 0, colour) for found, colour in zip(labels, palette, strict=True)]
    else:
        layers = [(labels == label, palette[label]) for label in np.unique(labels) if label != background]
    for area, colour in layers:
        picture[area] = np.rint((1 - FILL) * picture[area] + FILL * colour).astype(np.uint8)
    for area, colour in layers:
        picture[contour(area)] = colour
    return picture


def contour(area: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels of an area [H, W] that touch, by a side, a pixel outside it; the image's border is no outside."""
    inside = np.array(area)
    inside[1:] &= area[:-1]
    inside[:-1] &= area[1:]
    inside[:, 1:] &= area[:, :-1]
    inside[:, :-1] &= area[:, 1:]
    edge: NDArray[np.bool_] = area & ~inside
    return edge
