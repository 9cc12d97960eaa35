"""UPerNet: an FPN whose coarsest level also knows the whole picture, all levels fused at the finest stride.

Xiao et al., Unified Perceptual Parsing for Scene Understanding, ECCV 2018; its pyramid pooling module is PSPNet's
(Zhao et al., CVPR 2017).
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segkit.necks.conv import conv_norm_relu
from segkit.necks.neck import Neck, step_ratios
from segkit.necks.resample import upsample
from segkit.parts import Positive

BINS = (1, 2, 3, 6)


class UPerNet(Neck):
    """Pool the coarsest level over the whole map, pass it down as in an FPN, stack all levels and convolve them.

    Args:
        channels: channels of each incoming level, finest first.
        strides: stride of each incoming level, finest first; each a multiple of the one before.
        width: channels of every outgoing level.

    Returns from ``forward``: the fused map first, then the FPN's levels, finest first (for deep supervision).
    """

    def __init__(self, channels: Sequence[int], strides: Sequence[int], *, width: Positive = 128) -> None:
        super().__init__()
        self.ratios = step_ratios(channels, strides)
        self.context = PyramidPooling(channels[-1], width)
        self.lateral = nn.ModuleList(nn.Sequential(*conv_norm_relu(c, width, kernel=1)) for c in channels[:-1])
        self.smooth = nn.ModuleList(nn.Sequential(*conv_norm_relu(width, width)) for _ in channels[:-1])
        self.fuse = nn.Sequential(*conv_norm_relu(width * len(channels), width))
        self.channels = (width,) * (1 + len(channels))
        self.strides = (strides[0], *strides)

    def forward(self, pyramid: Sequence[Tensor]) -> list[Tensor]:
        """The fused map [B, width, h, w] at the finest stride, then each level [B, width, hᵢ, wᵢ]."""
        *fine, coarsest = pyramid
        levels = [lateral(level) for lateral, level in zip(self.lateral, fine, strict=True)]
        levels.append(self.context(coarsest))
        for i in reversed(range(len(fine))):
            levels[i] = levels[i] + upsample(levels[i + 1], self.ratios[i], like=levels[i])
        for i, smooth in enumerate(self.smooth):
            levels[i] = smooth(levels[i])

        ratios = [stride // self.strides[0] for stride in self.strides[1:]]
        stack = [upsample(level, ratio, like=levels[0]) for level, ratio in zip(levels, ratios, strict=True)]
        return [self.fuse(torch.cat(stack, dim=1)), *levels]


class PyramidPooling(nn.Module):
    """A map and its means over 1×1, 2×2, 3×3 and 6×6 bins, convolved together: [B, C, h, w] → [B, width, h, w].

    The means pass a 1×1 convolution with a bias, not BatchNorm: a bin has a value or a few per picture. Of one picture
    BatchNorm can't take the variance of a 1×1 map at all, and of two it leaves nothing but which is the larger, -1 and
    1, whatever they hold. Unnormalised, the means keep the scale of the map that they are stacked with, and the
    BatchNorm behind the 3×3 convolution sees them all.

    Args:
        channels: of the map that comes in.
        width: channels of the result, and of each size of bin.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.bins = nn.ModuleList(
            nn.Sequential(BinMeans(size), nn.Conv2d(channels, width, 1), nn.ReLU(inplace=True)) for size in BINS
        )
        self.merge = nn.Sequential(*conv_norm_relu(channels + width * len(BINS), width))

    def forward(self, x: Tensor) -> Tensor:
        """The map [B, channels, h, w] with its context, as [B, width, h, w]."""
        # Bins divide the map as it is, so they are enlarged to its size, not by a ratio.
        size = x.shape[-2:]
        means = [F.interpolate(mean(x), size=size, mode="bilinear", align_corners=False) for mean in self.bins]
        merged: Tensor = self.merge(torch.cat([x, *means], dim=1))
        return merged


class BinMeans(nn.Module):
    """Means of size × size bins, [B, C, h, w] → [B, C, size, size], the bins of ``nn.AdaptiveAvgPool2d``.

    As two products with averaging matrices, because that operator has no graph for every size in an ONNX file.

    Args:
        size: bins along each side; neighbours overlap where the side isn't a multiple of it.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        """The means of the map x."""
        rows, columns = self._shares(x.shape[-2], x), self._shares(x.shape[-1], x)
        return rows @ x @ columns.T

    def _shares(self, length: int, like: Tensor) -> Tensor:
        """What each of the length positions adds to each bin's mean, [size, length]."""
        bins = torch.arange(self.size, device=like.device)[:, None]
        first = bins * length // self.size
        end = ((bins + 1) * length + self.size - 1) // self.size
        position = torch.arange(length, device=like.device)
        return ((position >= first) & (position < end)).to(like.dtype) / (end - first)
