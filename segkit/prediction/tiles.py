"""Where tiles lie, and how much each says in the places where they overlap."""

from functools import lru_cache

import torch
from torch import Tensor

from segkit.errors import UsageError


def tile_origins(length: int, tile: int, overlap: float) -> list[int]:
    """First pixels of the tiles that cover ``length``, evenly spread; one tile at 0 where it covers all.

    Neighbours share at least ``overlap`` of a tile, to the nearest pixel.

    >>> tile_origins(10, 4, 0.5)
    [0, 2, 4, 6]
    >>> tile_origins(11, 4, 0.0)
    [0, 3, 7]
    """
    if length <= tile:
        return [0]
    step = max(1, round(tile * (1 - overlap)))
    last = -(-(length - tile) // step)
    return [i * (length - tile) // last for i in range(last + 1)]


@lru_cache(maxsize=16)
def bell(length: int) -> Tensor:
    """Weight of each row or column of a tile, float32 [length] in 0..1, above 3e-4: a Gaussian, sigma an eighth.

    A pixel's weight is its row's times its column's. Near a tile's border it saw little of its surroundings, so the
    tile that has it nearer its centre decides. The tensor is shared between calls: don't change it.
    """
    with torch.inference_mode(False):  # the cached tensor must stay usable outside inference mode
        offset = torch.arange(length, dtype=torch.float64) - (length - 1) / 2
        return torch.exp(-0.5 * (offset / (length / 8)) ** 2).float()


def shares(origins: list[int], tile: int) -> list[Tensor]:
    """How far each tile moves, along one axis, the mean of all up to it: its weight over the sum of theirs, [tile].

    Exactly 1 where a tile is the first.
    """
    total = torch.zeros(origins[-1] + tile)
    found = []
    for origin in origins:
        total[origin : origin + tile] += bell(tile)
        found.append(bell(tile) / total[origin : origin + tile])
    return found


def check_tiling(tile: int | None, overlap: float) -> None:
    """Raise UsageError, naming the value, where a tile's side or overlap is outside its range."""
    if tile is not None and (type(tile) is not int or tile < 1):
        raise UsageError(
            f"tile={tile!r}: expected the side of a tile in pixels, or None (on the command line 0) for the whole "
            "image at once"
        )
    if not isinstance(overlap, int | float) or not 0 <= overlap < 1:
        raise UsageError(f"overlap={overlap!r}: expected a share of the tile, from 0 up to but not including 1")
