"""Pictures brought to another size, the same in training and in prediction."""

import torch
import torch.nn.functional as F
from torch import Tensor

from segkit.data.masks import Ids
from segkit.data.reader import Pixels


def shrunk_or_enlarged(image: Tensor, size: tuple[int, int]) -> Tensor:
    """[B, C, H, W] → [B, C, *size]: bilinear, averaging over what a pixel covers where it shrinks."""
    return F.interpolate(image, size, mode="bilinear", antialias=True)


def within_range(x: Tensor, size: tuple[int, int]) -> Tensor:
    """The same within the range of each map's own values, which rounding would leave: a constant stays as it is."""
    return shrunk_or_enlarged(x, size).clamp(x.amin((2, 3), keepdim=True), x.amax((2, 3), keepdim=True))


def resized(image: Pixels, size: tuple[int, int]) -> Pixels:
    """A picture [H, W, C], float32 or uint8 (rounded), of another size."""
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None]
    return shrunk_or_enlarged(pixels, size)[0].permute(1, 2, 0).contiguous().numpy()


def resized_ids(mask: Ids, size: tuple[int, int]) -> Ids:
    """A mask [H, W] or [H, W, K] of another size, by nearest neighbours."""
    ids = torch.from_numpy(mask if mask.ndim == 3 else mask[..., None]).permute(2, 0, 1)[None]
    found = F.interpolate(ids, size, mode="nearest-exact")[0].permute(1, 2, 0).contiguous().numpy()
    return found if mask.ndim == 3 else found[..., 0]
