"""Depth, and what it changed in a mask, side by side, for people to look at."""

import matplotlib
import numpy as np
from numpy.typing import NDArray

from segkit.data.depth import Depth
from segkit.drawing.overlay import contour, draw_overlay

GAP = 4  # white pixels between panels
CHANGED = np.array([255, 0, 255], np.uint8)
SHARES = (2, 98)  # percentiles of the measured values that get the darkest and the brightest colour


def draw_depth(depth: Depth) -> NDArray[np.uint8]:
    """RGB uint8 [H, W, 3] of the first channel of depth [H, W, C + 1]: dark to bright, black where not measured."""
    values, measured = depth[..., 0], depth[..., -1] > 0
    picture = np.zeros((*values.shape, 3), np.uint8)
    if measured.any():
        low, high = np.percentile(values[measured], SHARES)
        shares = (values[measured] - low) / (high - low if high > low else 1)
        picture[measured] = matplotlib.colormaps["viridis"](shares.clip(0, 1), bytes=True)[..., :3]
    return picture


def draw_depth_and_change(
    image: NDArray[np.float32],
    depth: Depth,
    without: NDArray[np.uint8],
    labels: NDArray[np.uint8],
    palette: NDArray[np.uint8],
    background: int | None,
) -> NDArray[np.uint8]:
    """RGB uint8 [H, 3·W + 2·4, 3]: depth; the mask without it; the mask with it, what changed outlined in magenta.

    Args:
        image: float32 [H, W, C] in 0..1.
        depth: [H, W, C + 1].
        without: class ids [H, W], or 0/1 maps [K, H, W], as they are without depth.
        labels: as they are with it.
        palette, background: as of :func:`segkit.drawing.overlay.draw_overlay`.
    """
    changed = without != labels
    changed = changed.any(axis=0) if changed.ndim == 3 else changed
    after = draw_overlay(image, labels, palette, background)
    after[contour(changed)] = CHANGED
    gap = np.full((len(after), GAP, 3), 255, np.uint8)
    return np.concatenate(
        [draw_depth(depth), gap, draw_overlay(image, without, palette, background), gap, after], axis=1
    )
