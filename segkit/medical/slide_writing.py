"""Masks of slides as TIFFs that viewers lay over them: tiles, coarser levels behind the finest, and the scale."""

from collections.abc import Iterator
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from segkit.data.decoding import REDUCED
from segkit.data.picture import Resolution

TILED = 1024  # pixels along the longer side, beyond which a mask is cut into tiles,
LARGE = 4096  # and beyond which it has coarser levels, down to the first that is no longer than TILED
TILE = 512
BIG = 1 << 31  # bytes: plain TIFF counts its own with 32 bits


def write_pyramid(path: Path, labels: NDArray[np.uint8], mpp: Resolution | None) -> None:
    """Write class ids [H, W] as an 8-bit TIFF: as they are, from 1,024 pixels on in tiles, from 4,096 on as a pyramid.

    Each level takes every second pixel of the one before, so that all values are class ids, and is a page of its own,
    marked as a smaller version. ``labels`` may be a map of a file: tiles are read one by one.

    Args:
        path: the file.
        labels: class ids.
        mpp: microns per pixel, down and across; None where nobody knows.
    """
    height, width = labels.shape
    longest = max(height, width)
    options: dict[str, Any] = {"photometric": "minisblack", "compression": "deflate", "metadata": None}
    if longest <= TILED:
        tifffile.imwrite(path, labels, **options, **resolution_tags(mpp))
        return
    with tifffile.TiffWriter(path, bigtiff=labels.nbytes > BIG) as file:
        step = 1
        while step == 1 or (longest > LARGE and longest / (step // 2) > TILED):
            size = ceil(height / step), ceil(width / step)
            at = mpp and (mpp[0] * height / size[0], mpp[1] * width / size[1])
            file.write(
                _tiles(labels, step),
                shape=size,
                dtype=np.uint8,
                tile=(TILE, TILE),
                subfiletype=REDUCED if step > 1 else 0,
                **options,
                **resolution_tags(at),
            )
            step *= 2


def resolution_tags(mpp: Resolution | None) -> dict[str, Any]:
    """What :mod:`tifffile` writes a resolution from, in pixels a centimetre; nothing where nobody knows it."""
    if mpp is None:
        return {}
    return {"resolution": (10_000 / mpp[1], 10_000 / mpp[0]), "resolutionunit": "CENTIMETER"}


def _tiles(labels: NDArray[np.uint8], step: int) -> Iterator[NDArray[np.uint8]]:
    """Every ``step``-th pixel in tiles, row after row; what hangs over is 0."""
    side = TILE * step
    for top in range(0, labels.shape[0], side):
        for left in range(0, labels.shape[1], side):
            part = labels[top : top + side : step, left : left + side : step]
            tile = np.zeros((TILE, TILE), np.uint8)
            tile[: part.shape[0], : part.shape[1]] = part
            yield tile
