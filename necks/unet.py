"""U-Net's decoder: step by step back to the finest level, each step joined by that level's features.

Ronneberger et al., MICCAI 2015; with padded convolutions, BatchNorm and bilinear upsampling.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from segkit.necks.conv import conv_norm_relu
from segkit.necks.neck import Neck, step_ratios
from segkit.necks.resample import upsample
from segkit.parts import Positive


class UNet(Neck):
    """Enlarge the coarsest level step by step; at each, stack the backbone's level and run two 3×3 convolutions.

    Args:
        channels: channels of each incoming level, finest first; at least two levels.
        strides: stride of each incoming level, finest first; each a multiple of the one before.
        widths: channels of each outgoing map, finest first, one for each level but the coarsest. None: 16 for each
            pixel of stride, at most 256; so strides 1, 2, 4, 8, 16 have 16, 32, 64, 128, 256.

    Returns from ``forward``: the maps at every stride but the coarsest, finest first ([1:] for deep supervision).
    """

    def __init__(
        self, channels: Sequence[int], strides: Sequence[int], *, widths: Sequence[Positive] | None = None
    ) -> None:
        super().__init__()
        self.ratios = step_ratios(channels, strides)
        widths = decoder_widths(strides, widths)
        incoming = (*widths[1:], channels[-1])
        self.steps = nn.ModuleList(
            nn.Sequential(*conv_norm_relu(coarse + skip, width), *conv_norm_relu(width, width))
            for coarse, skip, width in zip(incoming, channels[:-1], widths, strict=True)
        )
        self.channels = widths
        self.strides = tuple(strides[:-1])

    def forward(self, pyramid: Sequence[Tensor]) -> list[Tensor]:
        """Decoder maps [B, widths[i], hᵢ, wᵢ], finest first."""
        *skips, x = pyramid
        maps: list[Tensor] = []
        for i in reversed(range(len(skips))):
            skip = self.joined(i, skips[i], x)
            x = self.steps[i](torch.cat([upsample(x, self.ratios[i], like=skip), skip], dim=1))
            maps.insert(0, x)
        return maps

    def joined(self, _place: int, skip: Tensor, _coarser: Tensor, /) -> Tensor:
        """What the backbone's level at a place, ``skip`` [B, C, h, w], gives to the step after: here all of it."""
        return skip


def decoder_widths(strides: Sequence[int], widths: Sequence[int] | None) -> tuple[int, ...]:
    """Channels of each map of a U-shaped decoder, finest first: ``widths``, or where None min(16 · stride, 256).

    Raises ValueError for a single level, which leaves nothing to join, and unless there is one width per level but the
    coarsest.
    """
    if len(strides) < 2:
        raise ValueError(f"got one level of stride {strides[0]}; a U-Net joins two or more")
    if widths is None:
        return tuple(min(16 * stride, 256) for stride in strides[:-1])
    if len(widths) != len(strides) - 1:
        raise ValueError(f"widths is {list(widths)}; expected {len(strides) - 1}, one per level but the coarsest")
    return tuple(widths)
