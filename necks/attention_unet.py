"""Attention U-Net: a U-Net whose skips are weighted, pixel by pixel, by what the coarser map asks for.

Oktay et al., Attention U-Net: Learning Where to Look for the Pancreas, MIDL 2018.
"""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from segkit.necks.resample import upsample
from segkit.necks.unet import UNet
from segkit.parts import Positive


class AttentionUNet(UNet):
    """Enlarge the coarsest level step by step; at each, stack the backbone's gated level and convolve twice, 3×3.

    Args:
        channels: channels of each incoming level, finest first; at least two levels.
        strides: stride of each incoming level, finest first; each a multiple of the one before.
        widths: channels of each outgoing map, finest first, one for each level but the coarsest. None: 16 for each
            pixel of stride, at most 256.

    Returns from ``forward``: the maps at every stride but the coarsest, finest first ([1:] for deep supervision).
    """

    def __init__(
        self, channels: Sequence[int], strides: Sequence[int], *, widths: Sequence[Positive] | None = None
    ) -> None:
        super().__init__(channels, strides, widths=widths)
        incoming = (*self.channels[1:], channels[-1])
        self.gates = nn.ModuleList(AttentionGate(*each) for each in zip(channels[:-1], incoming, strict=True))

    def joined(self, place: int, skip: Tensor, coarser: Tensor, /) -> Tensor:
        """The backbone's level times its gate, which asks the coarser map."""
        gated: Tensor = self.gates[place](skip, coarser, self.ratios[place])
        return gated


class AttentionGate(nn.Module):
    """A skip times a weight per pixel in 0..1, σ(ψ·ReLU(Wₓx + W_g·g + b) + b_ψ): the paper's additive attention.

    The paper shrinks the skip to the coarse map's grid and enlarges the weights; here the coarse map's share is
    enlarged instead, so that weights are as fine as the skip and no size needs filling up.

    Args:
        skip: channels of the skip, x.
        coarse: channels of the coarser map, g, that says what matters.
    """

    def __init__(self, skip: int, coarse: int) -> None:
        super().__init__()
        inner = max(skip // 2, 1)
        self.of_skip = nn.Conv2d(skip, inner, 1, bias=False)
        self.of_coarse = nn.Conv2d(coarse, inner, 1)
        self.weight = nn.Conv2d(inner, 1, 1)
        if self.weight.bias is not None:  # as in the paper, gates start by letting everything through: σ(3) = 0.95
            nn.init.constant_(self.weight.bias, 3.0)

    def forward(self, skip: Tensor, coarse: Tensor, ratio: int) -> Tensor:
        """The weighted skip [B, skip, h, w]; ``coarse`` is [B, coarse, ⌈h/ratio⌉, ⌈w/ratio⌉]."""
        asked = upsample(self.of_coarse(coarse), ratio, like=skip)  # a 1×1 convolution first: it is cheaper there
        weight: Tensor = self.weight(F.relu(self.of_skip(skip) + asked)).sigmoid()  # [B, 1, h, w]
        return skip * weight
