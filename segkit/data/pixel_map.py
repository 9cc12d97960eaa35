"""Where each pixel of a cut and augmented picture was before, so that depth can follow it, whatever the transforms.

Depth itself doesn't pass through the transforms: they would fill it, mix it or cut it to bytes. Coordinates do, as one
more mask, by nearest neighbours; depth is then looked up, and from them is measured how far the picture was zoomed.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from segkit.data.depth import Depth

Coordinates = NDArray[np.float32]
PixelMap = Mapping[str, Coordinates]
"""``rows`` and ``columns`` [H, W] of where a pixel was, plus ``FIRST``; less where it came in from outside.

Two layers, because OpenCV rounds the places of pixels differently in layers of two channels than in a mask's one.
"""

FIRST = 1000  # more than anything that transforms fill masks with
SAMPLED = 64  # rows and columns that the zoom is measured on, evenly spread: more change the fourth digit
PARTS = 8  # along each side, where no one affine map fits
LOOSE = 1 / 32  # of the side: typical misfit from which none does, in tiles that are shuffled or reflections


def pixel_map(corner: tuple[int, int], size: tuple[int, int], picture: tuple[int, int]) -> dict[str, Coordinates]:
    """Return the map of a window of ``size`` (height, width) that is cut from a picture at ``corner`` (row, column).

    The window may reach beyond the picture, whose (height, width) is ``picture``.
    """
    places = []
    for start, length, side in zip(corner, size, picture, strict=True):
        place = np.arange(start, start + length)
        places.append(np.where((place >= 0) & (place < side), place + FIRST, 0).astype(np.float32))
    rows, columns = np.meshgrid(*places, indexing="ij")
    return {"rows": np.ascontiguousarray(rows), "columns": np.ascontiguousarray(columns)}


def follow(depth: Depth, pixels: PixelMap) -> Depth:
    """Return depth [h, w, C + 1] of the pixels of a map; zeros, not measured, where they are from outside."""
    rows, columns = (pixels[name].astype(np.int64) - FIRST for name in ("rows", "columns"))
    outside = (rows < 0) | (columns < 0)
    place = rows * depth.shape[1] + columns
    place[outside] = 0
    found: Depth = depth.reshape(-1, depth.shape[2]).take(place, axis=0)  # several times faster than by two indices
    found[outside] = 0
    return found


def zoom_of(pixels: PixelMap) -> float:
    """Return how far what a map shows was enlarged, below 1 where it was shrunk.

    That is 1 / √|det| of the affine map from where pixels are to where they were, fitted by least squares, so the
    geometric mean over both directions, to a pixel in the map's side, since pixels are counted whole: to 2.5 % in a map
    of 32², to 0.5 % in one of 192². It is exactly 1 after crops, flips and quarter turns, and where fewer pixels
    than say anything are from inside the picture. Where no one affine map fits, because tiles were shuffled or a
    border reflected, it is the median over parts of the map.
    """
    step = max(1, min(pixels["rows"].shape) // SAMPLED)
    seen = np.stack([pixels[name][::step, ::step] for name in ("rows", "columns")], axis=2).astype(np.float64)
    area, misfit = _fit(seen)
    if misfit > max(1, LOOSE * step * min(seen.shape[:2])):
        bands = np.array_split(seen, PARTS, axis=0)
        areas = [_fit(part)[0] for band in bands for part in np.array_split(band, PARTS, axis=1)]
        area = float(np.median([found for found in areas if found > 0] or [0]))
    if area <= 0:
        return 1.0
    zoom = float(step / np.sqrt(area))
    return 1.0 if abs(zoom - 1) < 1e-9 else zoom


def _fit(pixels: NDArray[np.float64]) -> tuple[float, float]:
    """|det| of the affine map that fits coordinates [h, w, 2] best, and its typical misfit in pixels; 0 where none."""
    inside = _inside(pixels)
    if np.count_nonzero(inside) < 3:
        return 0.0, 0.0
    here = np.argwhere(inside).astype(np.float64)
    there = pixels[inside]
    here, there = here - here.mean(axis=0), there - there.mean(axis=0)
    spread = here.T @ here
    if np.linalg.det(spread) < 1e-9 * np.trace(spread) ** 2:  # all in one line
        return 0.0, 0.0
    matrix = np.linalg.solve(spread, here.T @ there)
    misfit = np.sqrt(np.square(there - here @ matrix).sum(axis=1).mean())
    return float(abs(np.linalg.det(matrix))), float(misfit)


def _inside(pixels: NDArray[np.floating]) -> NDArray[np.bool_]:
    return np.asarray((pixels >= FIRST).all(axis=2))
