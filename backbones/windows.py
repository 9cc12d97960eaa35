"""Maps cut into windows and put together again, and the mask that keeps shifted windows honest."""

from functools import lru_cache

import torch
from torch import Tensor

Size = tuple[int, int]


def split_windows(x: Tensor, window: Size) -> Tensor:
    """The windows of a map, row by row: [B, H, W, C] → [B, windows, tokens, C]; ``window`` must divide [H, W]."""
    batch, height, width, channels = x.shape
    rows, columns = height // window[0], width // window[1]
    x = x.view(batch, rows, window[0], columns, window[1], channels).transpose(2, 3)
    return x.reshape(batch, rows * columns, window[0] * window[1], channels)


def join_windows(x: Tensor, window: Size, size: Size) -> Tensor:
    """The map of ``size`` that the windows came from: [B, windows, tokens, C] → [B, H, W, C]."""
    batch, channels = x.shape[0], x.shape[-1]
    rows, columns = size[0] // window[0], size[1] // window[1]
    x = x.view(batch, rows, columns, window[0], window[1], channels).transpose(2, 3)
    return x.reshape(batch, *size, channels)


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
    if shift == 0:
        return torch.zeros_like(place), place < real
    region = (place >= padded - window).long() + (place >= padded - shift).long()
    return region, (place + shift) % padded < real


@lru_cache(maxsize=16)  # four image sizes of a four-stage network; blocks and members of an ensemble share them
def _kept_mask(real: Size, padded: Size, window: Size, shift: Size, dtype: torch.dtype, device: torch.device) -> Tensor:
    with torch.inference_mode(False):  # a mask made while predicting must also serve training
        return _build_mask(real, padded, window, shift, dtype, device)
