"""Colours for class ids, chosen so that colour-blind readers can tell them apart too."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from segkit.task import Task

OKABE_ITO = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7")
"""The palette of Okabe and Ito (2008) without its black."""

MACHADO = np.array(
    [
        [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    ]
)
"""From linear RGB to what is seen: full colour vision, no red cones, no green cones (Machado et al., TVCG 2009)."""

TO_CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
TO_OKLAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


def default_palette(task: Task, maps: int, background: int | None = None) -> NDArray[np.uint8]:
    """RGB of each label, uint8 [labels, 3]: two labels (0 is black) if ``binary``, otherwise one a map.

    The background is black; the other classes take their colours in the order of their ids, so that a class added at
    the end changes none of them.
    """
    if task == "binary":
        maps, background = 2, 0
    shown = [label for label in range(maps) if label != background]
    palette = np.zeros((maps, 3), np.uint8)
    palette[shown] = distinct_colours()[: len(shown)]
    return palette


@lru_cache(maxsize=1)
def distinct_colours() -> NDArray[np.uint8]:
    """255 RGB colours, uint8 [255, 3], none of them black or white: Okabe and Ito's seven, then always the farthest.

    Farthest from all before it, by the distance in Oklab that the least favoured of three kinds of eyes sees.
    """
    steps = np.linspace(0, 255, 10).round().astype(np.uint8)
    grid = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    lightness = _seen(grid)[:, 0, 0]
    grid = grid[(lightness > 0.4) & (lightness < 0.95)]  # darker ones look black on a dark image
    first = np.array([[int(code[i : i + 2], 16) for i in (1, 3, 5)] for code in OKABE_ITO], np.uint8)
    candidates = _seen(grid)  # [N, eyes, 3]
    nearest = np.full(len(grid), np.inf)
    for taken in _seen(np.concatenate([first, [[0, 0, 0], [255, 255, 255]]]).astype(np.uint8)):
        nearest = np.minimum(nearest, _distance(candidates, taken))
    colours = list(first)
    while len(colours) < 255:
        farthest = int(nearest.round(9).argmax())  # rounded, so that a tie falls the same way on every machine
        colours.append(grid[farthest])
        nearest = np.minimum(nearest, _distance(candidates, candidates[farthest]))
    return np.stack(colours)


def _distance(colours: NDArray[np.float64], one: NDArray[np.float64]) -> NDArray[np.float64]:
    nearest: NDArray[np.float64] = np.linalg.norm(colours - one, axis=-1).min(axis=-1)  # [N, eyes, 3] → [N]
    return nearest


def _seen(colours: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Oklab coordinates (Ottosson, 2020) of RGB colours [N, 3] for each kind of eyes, [N, eyes, 3]."""
    srgb = colours / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    perceived = np.einsum("eij,nj->nei", MACHADO, linear).clip(0, 1)
    lab: NDArray[np.float64] = np.cbrt(perceived @ TO_CONES.T) @ TO_OKLAB.T
    return lab
