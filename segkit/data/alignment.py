"""Depth brought from the camera that measured it to the camera that took the picture."""

import numpy as np
from numpy.typing import NDArray

from segkit.checked import Checked
from segkit.data.camera import Intrinsics, Motion
from segkit.data.depth import Depth

MOST = 16  # pixels of the picture, along each side, that one measurement covers at most
ROUNDING = 1e-6  # of a pixel; else neighbours that share an edge could both miss the pixel whose centre is on it


class Alignment(Checked):
    """What it takes to bring depth to its picture.

    Args:
        depth_camera: of the depth maps as they are stored.
        colour_camera: of the pictures as they are read, upright.
        motion: from the depth camera's space to the colour camera's, 3 × 4 or 4 × 4, in metres.
    """

    depth_camera: Intrinsics
    colour_camera: Intrinsics
    motion: Motion


def aligned(depth: Depth, alignment: Alignment, size: tuple[int, int]) -> Depth:
    """Return depth [H, W, 2] as the colour camera would have measured it, float32 [h, w, 2] on a picture's pixels.

    Each measurement is moved to the picture and covers there what its pixel covers, seen from the new place; of
    several on one pixel the nearest counts, and a pixel that none covers is not measured. So a plane stays whole where
    the picture is the larger one, and what only the colour camera sees behind an edge stays a hole.

    Args:
        depth: metres and validity.
        alignment: of the two cameras, which must not be turned against one another about their line of sight by more
            than a few degrees: what a pixel covers keeps its sides level.
        size: (height, width) of the picture.
    """
    rows, columns = np.nonzero(depth[..., -1])
    z = depth[rows, columns, 0].astype(np.float64)
    source, target = alignment.depth_camera, alignment.colour_camera
    seen = np.stack([(columns - source.cx) / source.fx * z, (rows - source.cy) / source.fy * z, z])
    motion = np.array(alignment.motion)
    x, y, far = motion[:, :3] @ seen + motion[:, 3:]

    front = far > 0
    x, y, far, z = x[front], y[front], far[front], z[front]
    nearness = z / far
    left, right = _covered(target.fx * x / far + target.cx, target.fx / source.fx * nearness, size[1])
    top, bottom = _covered(target.fy * y / far + target.cy, target.fy / source.fy * nearness, size[0])

    nearest = np.full(size, np.inf)
    for down in range(MOST):
        for across in range(MOST):
            on = (top + down < bottom) & (left + across < right)
            if not on.any():
                break
            np.minimum.at(nearest, (top[on] + down, left[on] + across), far[on])
    measured = np.isfinite(nearest)
    return np.stack([np.where(measured, nearest, 0), measured], axis=2).astype(np.float32)


def _covered(
    centre: NDArray[np.float64], width: NDArray[np.float64], side: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """First pixel and the one after the last whose centres lie in an interval, cut to the picture's side."""
    half = width.clip(1, MOST) / 2  # at least one pixel, so that none is lost in a smaller picture
    ends = np.ceil(np.stack([centre - half, centre + half]) - ROUNDING).clip(0, side).astype(np.intp)
    return ends[0], ends[1]
