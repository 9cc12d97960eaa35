"""Enlarging that keeps a map on the image's top-left grid."""

import torch.nn.functional as F
from torch import Tensor


def enlarge(x: Tensor, ratio: int, stride: int, size: tuple[int, int]) -> Tensor:
    """Bilinear by exactly ``ratio``, cropped at the bottom and right to what ``size`` measures at ``stride``.

    Cropping instead of resizing keeps the grids aligned at the top left at any size.
    """
    if ratio > 1:
        x = F.interpolate(x, scale_factor=ratio, mode="bilinear", align_corners=False)
    return crop(x, stride, size)


def crop(x: Tensor, stride: int, size: tuple[int, int]) -> Tensor:
    """The top left of [B, C, h, w] that an image of ``size`` covers at ``stride``: [B, C, ⌈H/stride⌉, ⌈W/stride⌉]."""
    height, width = ((side + stride - 1) // stride for side in size)
    return x.narrow(-2, 0, height).narrow(-1, 0, width)  # a slice's size would be open in exports
