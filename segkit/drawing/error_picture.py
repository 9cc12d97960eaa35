"""Where a prediction is wrong, and how, for people to look at."""

import numpy as np
from numpy.typing import NDArray

from segkit.data.masks import IGNORE

NOTHING, FOUND, MISSED, INVENTED, IGNORED = (24, 26, 28), (232, 232, 232), (213, 94, 0), (86, 180, 233), (120, 120, 120)
"""Colours of the kinds of pixels; orange and blue are from the palette of Okabe and Ito (2008)."""


def draw_errors(labels: NDArray[np.uint8], target: NDArray[np.uint8], background: int | None) -> NDArray[np.uint8]:
    """RGB uint8 [H, W, 3]: foreground light where right, orange where missed or taken for another class.

    Background is dark where right and blue where foreground was invented; what the truth ignores is grey.

    Args:
        labels: class ids [H, W], or 0/1 maps [K, H, W], where a pixel shows the worst of its maps: missed before
            invented before right.
        target: the same of the truth, 255 where it is ignored.
        background: the id that is background, if any; without meaning for [K, H, W].
    """
    empty_id = 0 if labels.ndim == 3 else -1 if background is None else background
    labels, target = (ids.reshape(-1, *ids.shape[-2:]) for ids in (labels, target))  # [H, W] → [1, H, W]
    ignored, wrong, empty = target == IGNORE, labels != target, target == empty_id
    there = ~empty & ~ignored
    picture = np.full((*target.shape[1:], 3), NOTHING, np.uint8)
    for area, colour in ((there, FOUND), (empty & wrong, INVENTED), (there & wrong, MISSED)):
        picture[area.any(0)] = colour
    picture[ignored.all(0)] = IGNORED
    return picture
