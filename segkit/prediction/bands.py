"""Large images in overlapping tiles, blended to maps that don't show the seams, from the top down."""

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice, pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from segkit.data.resize import within_range
from segkit.prediction.ahead import read_ahead
from segkit.prediction.at_once import Ask, AtOnce
from segkit.prediction.tiles import check_tiling, shares, tile_origins
from segkit.prediction.views import Resize, View, views_of
from segkit.tta import TTA


@dataclass(frozen=True)
class Strips:
    """Images of one size that are read by rows.

    Attributes:
        size: H and W.
        count: how many images, B.
        rows: from a first row up to, but not including, a last one: [B, C, rows, W]. Called in a thread, in order.
    """

    size: tuple[int, int]
    count: int
    rows: Callable[[int, int], Tensor]


def tiled(
    function: Ask, image: Tensor, *, tile: int | None, overlap: float = 0.5, batch: int = 4, tta: TTA = None
) -> Tensor:
    """Maps float32 [B, C', H, W] of images [B, C, H, W] that ``function`` sees in tiles, ``batch`` at a time.

    Args:
        function: [b, C, h, w] → [b, C', h, w]; its values are averaged, which has a meaning for probabilities but
            not for logits, nor for the entropy of what is averaged.
        image: any H and W from 1 up. Tiles are cut where it lies; maps are blended where ``function`` puts them.
        tile: side of a tile; along an axis that is no longer than it the image is not cut. None: never cut.
        overlap: share of a tile that it has in common with the next, 0 up to, but not including, 1.
        batch: tiles per call of ``function``.
        tta: the views of each tile that are averaged, see :mod:`segkit.tta`.

    No gradient is recorded.

    Raises:
        UsageError: a tile or batch below 1, an overlap outside 0..1, an unknown ``tta``.
    """
    strips = Strips((image.shape[-2], image.shape[-1]), len(image), lambda top, bottom: image[:, :, top:bottom])
    return torch.cat(list(bands(function, strips, tile=tile, overlap=overlap, batches=AtOnce(batch), tta=tta)), dim=2)


@torch.no_grad()
def bands(
    function: Ask,
    strips: Strips,
    *,
    tile: int | None,
    overlap: float,
    batches: AtOnce,
    tta: TTA,
    resize: Resize = within_range,
    device: torch.device | None = None,
) -> Generator[Tensor, None, None]:
    """What :func:`tiled` returns, from the top down: each [B, C', h, W] as soon as no further tile touches it.

    So only a row of tiles and the next are held at a time, however tall the image is.

    The blend is a running weighted mean (West, Communications of the ACM, 1979), first along the tiles of a row, then
    over the rows, which is the same because the weights are products. Where tiles agree it is exactly what they say,
    and nothing grows with their number. ``resize`` brings tiles to the scales of ``tta``, on the ``device`` if there is
    one, where each tile is brought once for all its views.
    """
    check_tiling(tile, overlap)
    height, width = strips.size
    tile_height, tile_width = (min(tile or side, side) for side in (height, width))
    tops, lefts = tile_origins(height, tile_height, overlap), tile_origins(width, tile_width, overlap)
    by_row, by_column = shares(tops, tile_height), shares(lefts, tile_width)

    places = _places(strips, tops, lefts, (tile_height, tile_width))
    answers = _answers(function, places, batches, views_of(tta), resize, device)
    row = mean = torch.empty(0)  # both [B, C', tile_height, W]: of this row of tiles, and of all up to it
    for place, maps in answers:  # maps: [C', tile_height, tile_width]
        if place.first:
            row = maps.new_zeros(strips.count, maps.shape[0], tile_height, width)
            if maps.device != by_row[0].device:  # once: each copy of a tile's own would be waited for
                by_row, by_column = ([share.to(maps.device) for share in each] for each in (by_row, by_column))
        columns = slice(lefts[place.column], lefts[place.column] + tile_width)
        row[place.item, :, :, columns].lerp_(maps, by_column[place.column])
        if not place.last:
            continue
        mean = mean.lerp_(row, by_row[place.row][:, None]) if place.row else row
        if place.row < len(tops) - 1:
            done = tops[place.row + 1] - tops[place.row]
            yield mean[:, :, :done].clone()  # a view would keep the rows below alive too
            mean = torch.cat([mean[:, :, done:], torch.zeros_like(mean[:, :, :done])], dim=2)
    yield mean


class Place(NamedTuple):
    """Which tile: its row and column of tiles, its image, and whether it opens or closes its row of tiles."""

    row: int
    column: int
    item: int
    first: bool
    last: bool


def _places(
    strips: Strips, tops: list[int], lefts: list[int], size: tuple[int, int]
) -> Generator[tuple[Place, Tensor], None, None]:
    """Each tile [C, h, w] with its place, row after row; rows of pixels are read once, ahead."""
    height, width = size
    fresh = [(0, height), *((before + height, top + height) for before, top in pairwise(tops))]
    held = torch.empty(0)
    reading = read_ahead(partial(strips.rows, top, bottom) for top, bottom in fresh)
    try:
        for row, new in enumerate(reading):
            held = torch.cat([held[:, :, new.shape[2] :], new], dim=2) if row else new
            for column, left in enumerate(lefts):
                for item in range(strips.count):
                    first, last = column == item == 0, column == len(lefts) - 1 and item == strips.count - 1
                    yield Place(row, column, item, first, last), held[item, :, :, left : left + width]
    finally:
        reading.close()


def _answers(
    function: Ask,
    places: Generator[tuple[Place, Tensor], None, None],
    batches: AtOnce,
    views: tuple[View, ...],
    resize: Resize,
    device: torch.device | None,
) -> Iterator[tuple[Place, Tensor]]:
    """Each place with its maps, float32 [C', h, w]: the mean over the views of its tile."""
    try:
        while chunk := list(islice(places, batches.size)):
            tiles = torch.stack([tile for _, tile in chunk])
            tiles = tiles if device is None else tiles.to(device)
            size = (tiles.shape[-2], tiles.shape[-1])
            mean = torch.empty(0)
            for number, view in enumerate(views, start=1):
                maps = view.back(batches.ask(partial(_checked, function), view.of(tiles, resize)), size)
                mean = mean.lerp(maps, 1 / number) if number > 1 else maps
            yield from zip((place for place, _ in chunk), mean, strict=True)
    finally:
        places.close()


def _checked(function: Ask, tiles: Tensor) -> Tensor:
    """What the model says, in float32, if it is of the tiles' number and size."""
    found = function(tiles)
    if found.ndim != 4 or len(found) != len(tiles) or found.shape[-2:] != tiles.shape[-2:]:
        height, width = tiles.shape[-2:]
        raise ValueError(f"got maps {list(found.shape)} for {len(tiles)} tiles of {height}×{width} pixels")
    return found.float()
