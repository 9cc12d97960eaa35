"""Values of each pixel as a picture from dark to bright, for people to look at."""

import matplotlib
import numpy as np
from numpy.typing import NDArray


def draw_heat(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """RGB uint8 [H, W, 3] of values [H, W] in 0..1, from black over magenta to pale yellow."""
    shades: NDArray[np.uint8] = matplotlib.colormaps["magma"](values.clip(0, 1), bytes=True)[..., :3]
    return shades
