"""Pictures and masks as PNG, quickly and without loss."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from segkit.errors import DataError


def png_bytes(pixels: NDArray[Any], path: Path) -> bytes:
    """Return the content of a file for [H, W], or for RGB [H, W, 3].

    Args:
        pixels: of 8 or 16 bits.
        path: of the file, for messages.

    Raises:
        DataError: there is no PNG of that.
    """
    try:
        done, data = cv2.imencode(".png", np.ascontiguousarray(pixels[..., ::-1] if pixels.ndim == 3 else pixels))
    except cv2.error:
        done = False
    if not done:
        raise DataError(f"{path.name}: can't be written as PNG")
    return data.tobytes()
