"""Large images in overlapping tiles, blended to one map that doesn't show the seams."""

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from segkit.errors import UsageError

TTA = Literal["mirror", "flip"] | None

FLIPS: dict[TTA, tuple[tuple[int, ...], ...]] = {
    None: ((),),
    "mirror": ((), (-1,)),
    "flip": ((), (-1,), (-2,), (-2, -1)),
}
"""Dimensions turned round in each view of a tile, by kind of test-time augmentation."""


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
def gaussian_weights(height: int, width: int) -> Tensor:
    """Weight of each pixel of a tile, float32 [height, width] in 0..1, above 1e-7: a Gaussian, sigma an eighth.

    A pixel near a tile's border saw little of its surroundings, so the tile that has it nearer its centre decides.
    The tensor is shared between calls: don't change it.
    """
    with torch.inference_mode(False):  # the cached tensor must stay usable outside inference mode
        return torch.outer(_bell(height), _bell(width)).float()


def _bell(length: int) -> Tensor:
    offset = torch.arange(length, dtype=torch.float64) - (length - 1) / 2
    return torch.exp(-0.5 * (offset / (length / 8)) ** 2)


def tiled(
    function: Callable[[Tensor], Tensor],
    image: Tensor,
    *,
    tile: int | None,
    overlap: float = 0.5,
    batch: int = 4,
    tta: TTA = None,
) -> Tensor:
    """Maps float32 [B, C', H, W] of an image [B, C, H, W] that ``function`` sees in tiles, ``batch`` at a time.

    Args:
        function: [b, C, h, w] → [b, C', h, w]; its values are averaged, which has a meaning for probabilities but
            not for logits, nor for the entropy of what is averaged.
        image: any H and W from 1 up. Tiles are cut where it lies; maps are blended where ``function`` puts them.
        tile: side of a tile; along an axis that is no longer than it the image is not cut. None: never cut.
        overlap: share of a tile that it has in common with the next, 0 up to, but not including, 1.
        batch: tiles per call of ``function``.
        tta: ``"mirror"`` averages two views of each tile, as it is and mirrored; ``"flip"`` four, these and both upside
            down.

    No gradient is recorded.

    Raises:
        UsageError: a tile or batch below 1, an overlap outside 0..1, an unknown ``tta``.
    """
    return torch.cat(list(bands(function, image, tile=tile, overlap=overlap, batch=batch, tta=tta)), dim=2)


@torch.no_grad()
def bands(
    function: Callable[[Tensor], Tensor],
    image: Tensor,
    *,
    tile: int | None,
    overlap: float,
    batch: int,
    tta: TTA,
) -> Iterator[Tensor]:
    """What :func:`tiled` returns, from the top down: each [B, C', h, W] as soon as no further tile touches it.

    So only one row of tiles is held at a time, however tall the image is.

    The blend is a running weighted mean (West, Communications of the ACM, 1979), not a sum divided at the end: where
    tiles agree it is exactly what they say, and nothing grows with their number.
    """
    check_tiling(tile, overlap, batch, tta)
    height, width = image.shape[-2:]
    tile_height, tile_width = (min(tile or side, side) for side in (height, width))
    tops, lefts = tile_origins(height, tile_height, overlap), tile_origins(width, tile_width, overlap)
    views = [
        View(item, top, left, flip)
        for top in tops
        for left in lefts
        for item in range(image.shape[0])
        for flip in FLIPS[tta]
    ]
    mean = total = torch.empty(0)  # of the rows from `reached` on: [B, C', tile_height, W] and [B, 1, tile_height, W]
    weights, reached = gaussian_weights(tile_height, tile_width), 0

    for view, maps in _in_batches(function, image, views, (tile_height, tile_width), batch):  # maps: [C', h, w]
        if not mean.numel():
            mean = maps.new_zeros(image.shape[0], maps.shape[0], tile_height, width)
            total, weights = mean[:, :1].clone(), weights.to(maps.device)
        if view.top > reached:
            done = view.top - reached
            yield mean[:, :, :done].clone()  # a view would keep the rows below alive too
            mean, total = (torch.cat([m[:, :, done:], torch.zeros_like(m[:, :, :done])], dim=2) for m in (mean, total))
            reached = view.top
        columns = slice(view.left, view.left + tile_width)
        total[view.item, :, :, columns] += weights
        mean[view.item, :, :, columns].lerp_(maps, weights / total[view.item, :, :, columns])
    yield mean


class View(NamedTuple):
    """One look at one tile: which image, where its first pixel is, and the dimensions turned round."""

    item: int
    top: int
    left: int
    flip: tuple[int, ...]


def _in_batches(
    function: Callable[[Tensor], Tensor], image: Tensor, views: list[View], size: tuple[int, int], batch: int
) -> Iterator[tuple[View, Tensor]]:
    """Each view with its maps, float32 [C', h, w], turned back; one call of ``function`` a batch."""
    for start in range(0, len(views), batch):
        chunk = views[start : start + batch]
        result = function(torch.stack([_cut(image, view, size) for view in chunk])).float()
        if result.ndim != 4 or result.shape[0] != len(chunk) or result.shape[-2:] != size:
            raise ValueError(f"got maps {list(result.shape)} for {len(chunk)} tiles of {size[0]}×{size[1]} pixels")
        for view, maps in zip(chunk, result, strict=True):
            yield view, maps.flip(view.flip) if view.flip else maps


def _cut(image: Tensor, view: View, size: tuple[int, int]) -> Tensor:
    rows, columns = slice(view.top, view.top + size[0]), slice(view.left, view.left + size[1])
    piece = image[view.item, :, rows, columns]  # [C, h, w]
    return piece.flip(view.flip) if view.flip else piece


def check_tiling(tile: int | None, overlap: float, batch: int, tta: TTA) -> None:
    """Raise UsageError, naming the value, where an option of :func:`tiled` is outside its range."""
    if tile is not None and tile < 1:
        raise UsageError(f"tile={tile}: expected the side of a tile in pixels, or None for the whole image at once")
    if not 0 <= overlap < 1:
        raise UsageError(f"overlap={overlap}: expected a share of the tile, from 0 up to but not including 1")
    if batch < 1:
        raise UsageError(f"batch={batch}: expected 1 or more tiles at a time")
    if tta not in FLIPS:
        raise UsageError(f"tta={tta!r}: expected None, 'mirror' or 'flip'")
