"""What a picture is like, in a few small facts."""

from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from segkit.checking.copies import look
from segkit.data.reader import Pixels, orientation_of

Grid = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class PictureFacts:
    """What a picture is like.

    Attributes:
        size: (height, width), upright.
        channels: without alpha.
        dtype: uint8, uint16 or float32.
        low, high: lowest and highest value.
        orientation: its tag, 1 where it lies as stored.
        digest: of size, type and every value.
        look: float16 [16, 16], to find copies by.
    """

    size: tuple[int, int]
    channels: int
    dtype: str
    low: float
    high: float
    orientation: int
    digest: bytes
    look: NDArray[np.float16] = field(repr=False)


def picture_facts(file: Path, pixels: Pixels, grey: Grid) -> PictureFacts:
    """Return the facts of a picture [H, W, C] that was read from a file, and its grey values [H, W]."""
    height, width, channels = pixels.shape
    digest = blake2b(f"{pixels.shape} {pixels.dtype}".encode(), digest_size=16)
    digest.update(np.ascontiguousarray(pixels).data)
    return PictureFacts(
        size=(height, width),
        channels=channels,
        dtype=str(pixels.dtype),
        low=float(pixels.min()),
        high=float(pixels.max()),
        orientation=orientation_of(file),
        digest=digest.digest(),
        look=look(grey).astype(np.float16),
    )


def grey_of(pixels: Pixels) -> Grid:
    """Return [H, W] float32, the luma of three channels and the mean of any other number."""
    if pixels.shape[2] == 3:
        return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), dtype=np.float32)
    if pixels.shape[2] == 1:
        return np.asarray(pixels[..., 0], dtype=np.float32)
    return np.asarray(pixels.mean(axis=2, dtype=np.float32))
