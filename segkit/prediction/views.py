"""The views of a tile that are averaged, and the way back from what a model says of them."""

from collections.abc import Callable
from itertools import product
from typing import NamedTuple

from torch import Tensor

from segkit.data.resize import within_range
from segkit.errors import UsageError
from segkit.tta import TTA, parse_tta

Resize = Callable[[Tensor, tuple[int, int]], Tensor]

FLIPS: dict[str | None, tuple[tuple[int, ...], ...]] = {
    None: ((),),
    "mirror": ((), (-1,)),
    "flip": ((), (-1,), (-2,), (-2, -1)),
    "d4": ((), (-1,), (-2,), (-2, -1)),
}
"""Dimensions turned round, by kind of turning."""


class View(NamedTuple):
    """One look at tiles: at another scale, mirrored, and with rows and columns exchanged, in this order.

    A quarter turn is an exchange of rows and columns and a mirroring.

    Attributes:
        flip: dimensions turned round.
        exchange: whether rows become columns.
        scale: size of what the model sees, relative to the tile.
    """

    flip: tuple[int, ...] = ()
    exchange: bool = False
    scale: float = 1.0

    def of(self, tiles: Tensor, resize: Resize = within_range) -> Tensor:
        """What the model sees of tiles [B, C, h, w]: [B, C, h', w']; ``resize`` brings them to another size."""
        if self.scale != 1:
            height, width = (max(1, round(side * self.scale)) for side in tiles.shape[-2:])
            tiles = resize(tiles, (height, width))
        tiles = tiles.flip(self.flip) if self.flip else tiles
        return tiles.mT if self.exchange else tiles

    def back(self, maps: Tensor, size: tuple[int, int]) -> Tensor:
        """Maps [B, C', h', w'] of what was seen, turned back and brought to the tiles' ``size``: [B, C', h, w]."""
        maps = maps.mT if self.exchange else maps
        maps = maps.flip(self.flip) if self.flip else maps
        return maps if maps.shape[-2:] == size else within_range(maps, size)


def views_of(tta: TTA) -> tuple[View, ...]:
    """The views that ``tta`` asks for, the tile as it is first.

    Raises:
        UsageError: it means nothing.
    """
    try:
        turning, scales = parse_tta(tta)
    except ValueError as error:
        raise UsageError(str(error)) from None
    exchanges = (False, True) if turning == "d4" else (False,)
    return tuple(View(flip, exchange, scale) for scale, exchange, flip in product(scales, exchanges, FLIPS[turning]))
