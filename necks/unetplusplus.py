"""U-Net++: skips that are themselves small U-Nets, so that what is joined is alike (Zhou et al., IEEE TMI 2020).

First at DLMIA 2018. Row i of its grid is the backbone's level i; each further node of a row joins all nodes before it
with the enlarged node of the row below: X[i, j] = H([up(X[i+1, j-1]), X[i, j-1], …, X[i, 0]]).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from segkit.necks.conv import conv_norm_relu
from segkit.necks.neck import Neck, step_ratios
from segkit.necks.resample import upsample
from segkit.necks.unet import decoder_widths
from segkit.parts import Positive


class UNetPlusPlus(Neck):
    """Fill the triangle between the backbone's levels and a U-Net's decoder; each node is two 3×3 convolutions.

    Args:
        channels: channels of each incoming level, finest first; at least two levels.
        strides: stride of each incoming level, finest first; each a multiple of the one before.
        widths: channels of each row's nodes, finest first, one for each level but the coarsest. None: 16 for each
            pixel of stride, at most 256.

    Returns from ``forward``: the finest row's nodes from the last to the first, all at the finest stride (the paper's
    deep supervision is on [1:] of these), then each coarser row's last node, finest first, as a U-Net returns them.
    """

    def __init__(
        self, channels: Sequence[int], strides: Sequence[int], *, widths: Sequence[Positive] | None = None
    ) -> None:
        super().__init__()
        self.ratios = step_ratios(channels, strides)
        widths = decoder_widths(strides, widths)
        rows = len(widths)
        self.rows = nn.ModuleList()
        for i, width in enumerate(widths):
            below = [channels[i + 1], *widths[i + 1 : i + 2] * (rows - i - 1)]
            self.rows.append(Row(channels[i], below, width))
        self.channels = (widths[0],) * rows + widths[1:]
        self.strides = (strides[0],) * rows + tuple(strides[1:-1])

    def forward(self, pyramid: Sequence[Tensor]) -> list[Tensor]:
        """Maps [B, widths[0], h, w] of the finest row, the last first, then [B, widths[i], hᵢ, wᵢ] of the others."""
        nodes = [pyramid[-1]]
        last: list[Tensor] = []
        for row, level, ratio in reversed(list(zip(self.rows, pyramid[:-1], self.ratios, strict=True))):
            nodes = row(level, nodes, ratio)
            last.insert(0, nodes[-1])
        return [*reversed(nodes[1:]), *last[1:]]


class Row(nn.Module):
    """The nodes of one row: the backbone's level, then one node for each of the row below.

    Args:
        level: channels of the backbone's level.
        below: channels of each node of the row below.
        width: channels of each further node.
    """

    def __init__(self, level: int, below: Sequence[int], width: int) -> None:
        super().__init__()
        self.nodes = nn.ModuleList(
            nn.Sequential(*conv_norm_relu(coarse + i * width + level, width), *conv_norm_relu(width, width))
            for i, coarse in enumerate(below)
        )

    def forward(self, level: Tensor, below: Sequence[Tensor], ratio: int) -> list[Tensor]:
        """The level [B, level, h, w] and the nodes [B, width, h, w]; those ``below`` are smaller by ``ratio``."""
        row = [level]
        for node, coarse in zip(self.nodes, below, strict=True):
            row.append(node(torch.cat([upsample(coarse, ratio, like=level), *reversed(row)], dim=1)))
        return row
