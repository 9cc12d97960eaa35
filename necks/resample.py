"""Upsampling that keeps every level on the same top-left grid."""

import torch.nn.functional as F
from torch import Tensor


def upsample(coarse: Tensor, ratio: int, *, like: Tensor) -> Tensor:
    """Enlarge by exactly ``ratio`` and crop to ``like``: [B, C, ⌈h/ratio⌉, ⌈w/ratio⌉] → [B, C, h, w], bilinear.

    Cropping instead of resizing to the target keeps both grids aligned at the top left when h or w is odd.
    """
    height, width = like.shape[-2:]
    if ratio > 1:
        coarse = F.interpolate(coarse, scale_factor=ratio, mode="bilinear", align_corners=False)
    return coarse.narrow(-2, 0, height).narrow(-1, 0, width)  # a slice's size would be open in exports
