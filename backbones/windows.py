"""Maps cut into windows and put together again, and the mask that keeps shifted windows honest."""

from functools import lru_cache
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

Size = tuple[int, int]


class Places(NamedTuple):
    """Where the tokens of a map stand once it is filled up, rolled and cut into windows.

    Attributes:
        of_windows: int64 [windows·tokens], which token of the map stands there, row by row; H·W where it is padding.
        of_tokens: int64 [H·W], where among the windows' tokens each token of the map stands.
        of_padding: int64 [windows·tokens - H·W], the places that are left.
    """

    of_windows: Tensor
    of_tokens: Tensor
    of_padding: Tensor


def window_places(size: Size, padded: Size, window: Size, shift: Size, device: torch.device) -> Places:
    """The places for a map of ``size``, filled up to ``padded`` and rolled up and left by ``shift``."""
    if torch.compiler.is_compiling():
        return _find_places(size, padded, window, shift, device)
    return _kept_places(size, padded, window, shift, device)


def take_windows(tokens: Tensor, places: Places) -> Tensor:
    """The windows' tokens, [B, H·W, C] → [B, windows·tokens, C], in one pass over memory.

    Where there is padding, ``tokens`` has one row more, [B, H·W + 1, C], which stands in for all of it.
    """
    taken: Tensor = _TakeWindows.apply(tokens, *places)
    return taken


def put_back(windows: Tensor, places: Places) -> Tensor:
    """The map's tokens out of the windows' without the padding: [B, windows·tokens, C] → [B, H·W, C]."""
    tokens: Tensor = _PutBack.apply(windows, *places)
    return tokens


def split_windows(x: Tensor, window: Size) -> Tensor:
    """The windows of a map, row by row: [B, H, W, C] → [B, windows, tokens, C]; ``window`` must divide [H, W]."""
    batch, height, width, channels = x.shape
    rows, columns = height // window[0], width // window[1]
    x = x.view(batch, rows, window[0], columns, window[1], channels).transpose(2, 3)
    return x.reshape(batch, rows * columns, window[0] * window[1], channels)


def window_mask(
    real: Size, padded: Size, window: Size, shift: Size, dtype: torch.dtype, device: torch.device
) -> Tensor:
    """What to add to attention logits, [windows, tokens, tokens]: 0 where two tokens belong together, -inf elsewhere.

    Args:
        real: size of the map; tokens beyond it are padding and see only each other.
        padded: size filled up to whole windows; equal to ``real`` to leave padding unmasked.
        window: size of a window.
        shift: how far the map was rolled up and left.
        dtype: of the result.
        device: of the result.
    """
    if torch.compiler.is_compiling():
        return _build_mask(real, padded, window, shift, dtype, device)
    return _kept_mask(real, padded, window, shift, dtype, device)


def _build_mask(
    real: Size, padded: Size, window: Size, shift: Size, dtype: torch.dtype, device: torch.device
) -> Tensor:
    row, row_is_real = _axis_regions(real[0], padded[0], window[0], shift[0], device)
    column, column_is_real = _axis_regions(real[1], padded[1], window[1], shift[1], device)
    region = row[:, None] * 3 + column
    region = torch.where(row_is_real[:, None] & column_is_real, region, -1)
    region = split_windows(region[None, :, :, None], window)[0, :, :, 0]  # [windows, tokens]
    apart = region[:, :, None] != region[:, None, :]
    return torch.zeros(apart.shape, dtype=dtype, device=device).masked_fill(apart, -torch.inf)


def _axis_regions(real: int, padded: int, window: int, shift: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """For each place of a rolled axis: which of up to three neighbourhoods it came from, and whether it is no padding.

    Only the last window holds tokens of both ends of the axis: those the roll moved there are its last ``shift``.
    """
    place = torch.arange(padded, device=device)
    region = (place >= padded - window).long() + (place >= padded - shift).long()
    return region, _wrapped(place + shift, padded) < real


def _wrapped(place: Tensor, side: int) -> Tensor:
    """Places of an axis that closes to a ring, at most once round too far, as 0 … side-1; exports have no %."""
    place = torch.where(place < side, place, place - side)
    return torch.where(place < 0, place + side, place)


@lru_cache(maxsize=16)  # four image sizes of a four-stage network; blocks and members of an ensemble share them
def _kept_mask(real: Size, padded: Size, window: Size, shift: Size, dtype: torch.dtype, device: torch.device) -> Tensor:
    with torch.inference_mode(False):  # a mask made while predicting must also serve training
        return _build_mask(real, padded, window, shift, dtype, device)


class _TakeWindows(torch.autograd.Function):
    """Each real token goes to one place, so the gradient only has to be put back, which is far quicker than to add."""

    @staticmethod
    def forward(tokens: Tensor, of_windows: Tensor, _of_tokens: Tensor, _of_padding: Tensor) -> Tensor:
        return tokens.index_select(1, of_windows)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], _output: Tensor) -> None:
        ctx.save_for_backward(*inputs[2:])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        of_tokens, of_padding = ctx.saved_tensors
        if len(of_padding) == 0:
            return gradient.index_select(1, of_tokens), None, None, None
        tokens = gradient.index_select(1, torch.cat([of_tokens, of_padding[:1]]))
        tokens[:, -1] = gradient.index_select(1, of_padding).sum(1)
        return tokens, None, None, None


class _PutBack(torch.autograd.Function):
    """The gradient is what the windows' tokens would be, with nothing in the padding."""

    @staticmethod
    def forward(windows: Tensor, _of_windows: Tensor, of_tokens: Tensor, _of_padding: Tensor) -> Tensor:
        return windows.index_select(1, of_tokens)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], _output: Tensor) -> None:
        ctx.save_for_backward(inputs[1], inputs[3])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        of_windows, of_padding = ctx.saved_tensors
        if len(of_padding):
            gradient = F.pad(gradient, (0, 0, 0, 1))
        return gradient.index_select(1, of_windows), None, None, None


def _find_places(size: Size, padded: Size, window: Size, shift: Size, device: torch.device) -> Places:
    rows, columns = (torch.arange(side, device=device) for side in padded)
    real = (rows < size[0])[:, None] & (columns < size[1])
    tokens = torch.where(real, rows[:, None] * size[1] + columns, size[0] * size[1])
    of_windows = split_windows(_rolled(tokens, shift)[None, :, :, None], window).flatten()

    places = torch.arange(padded[0] * padded[1], device=device)  # of the rolled map, window by window
    places = places.view(padded[0] // window[0], padded[1] // window[1], *window).transpose(1, 2).reshape(padded)
    places = _rolled(places, (-shift[0], -shift[1]))
    if torch.compiler.is_exporting():  # the padding, which gradients alone ask for, may be empty at some sizes
        return Places(of_windows, places.narrow(1, 0, size[1]).narrow(0, 0, size[0]).flatten(), places.new_empty(0))
    left, right = places.narrow(1, 0, size[1]), places.narrow(1, size[1], padded[1] - size[1])
    of_tokens, below = left.narrow(0, 0, size[0]), left.narrow(0, size[0], padded[0] - size[0])
    return Places(of_windows, of_tokens.flatten(), torch.cat([right.flatten(), below.flatten()]))


def _rolled(grid: Tensor, shift: Size) -> Tensor:
    """A grid [H, W] moved up and left by ``shift``; what leaves it comes in again on the other side."""
    for axis, steps in enumerate(shift):
        side = grid.shape[axis]
        grid = grid.index_select(axis, _wrapped(torch.arange(side, device=grid.device) + steps, side))
    return grid


@lru_cache(maxsize=32)  # shifted and not, four image sizes of a four-stage network
def _kept_places(size: Size, padded: Size, window: Size, shift: Size, device: torch.device) -> Places:
    with torch.inference_mode(False):  # places found while predicting must also serve training
        return _find_places(size, padded, window, shift, device)
