"""Feature Pyramid Network: one coarse-to-fine pass that gives every level the same width (Lin et al., CVPR 2017)."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from segkit.necks.conv import conv_norm_relu
from segkit.necks.neck import Neck, step_ratios
from segkit.necks.resample import upsample
from segkit.parts import Positive


class FPN(Neck):
    """Fuse a backbone's pyramid from its coarsest level down, then merge all levels at the finest stride.

    The merge is a 1×1 convolution of all levels stacked at the finest stride, each brought there step by step, with
    BatchNorm and ReLU. It is computed without the stack: a 1×1 convolution and an upsampling can change places, so each
    level is convolved at its own size and the sum grows on its way from coarse to fine.

    Args:
        channels: channels of each incoming level, finest first.
        strides: stride of each incoming level, finest first; each a multiple of the one before.
        width: channels of every outgoing level. None: 32 for each pixel of the finest stride, at most 256, since a map
            twice as fine has four times as many pixels.

    Returns from ``forward``: the merged map first, then the fused levels, finest first (for deep supervision).
    """

    def __init__(self, channels: Sequence[int], strides: Sequence[int], *, width: Positive | None = None) -> None:
        super().__init__()
        self.ratios = step_ratios(channels, strides)
        width = width if width is not None else min(256, 32 * strides[0])
        self.lateral = nn.ModuleList(nn.Conv2d(c, width, 1) for c in channels)
        self.smooth = nn.ModuleList(nn.Sequential(*conv_norm_relu(width, width)) for _ in channels)
        self.merge = nn.ModuleList(nn.Conv2d(width, width, 1, bias=False) for _ in channels)
        self.norm = nn.BatchNorm2d(width)
        self.channels = (width,) * (1 + len(channels))
        self.strides = (strides[0], *strides)

    def forward(self, pyramid: Sequence[Tensor]) -> list[Tensor]:
        """The merged map [B, width, h, w] at the finest stride, then each level [B, width, hᵢ, wᵢ]."""
        levels = [lateral(level) for lateral, level in zip(self.lateral, pyramid, strict=True)]
        for fine in reversed(range(len(levels) - 1)):
            levels[fine] = levels[fine] + upsample(levels[fine + 1], self.ratios[fine], like=levels[fine])
        levels = [smooth(level) for smooth, level in zip(self.smooth, levels, strict=True)]

        shares = [merge(level) for merge, level in zip(self.merge, levels, strict=True)]
        merged = shares.pop()
        while shares:
            share = shares.pop()
            merged = share + upsample(merged, self.ratios[len(shares)], like=share)
        return [F.relu(self.norm(merged)), *levels]
