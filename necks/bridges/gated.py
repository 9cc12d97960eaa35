"""A gate for each pixel between colour and depth (SA-Gate: Chen et al., ECCV 2020)."""

from typing import cast

import torch
from torch import Tensor, nn

from segkit.necks.bridges.bridge import Bridge, zero


class GatedBridge(Bridge):
    """A softmax over the two modalities, pixel by pixel, says how much of each is taken.

    With g the depth's share, P a 1×1 convolution and t a number for each channel: colour + g·(P(depth) + t·colour). P
    and t begin at zero. At t = -1 that is the paper's (1 - g)·colour + g·P(depth), in which depth takes the place of
    colour; at t = 0 it is added. Of the paper's module this is the second half, the aggregation; the filtering by the
    other modality's means, before it, isn't here.

    The share of a pixel that was measured is the gate's prior: the depth's exponential is multiplied by it. So depth
    says nothing where nothing was measured, and colour is left exactly as it was.

    Parameters: ``2*(colour + depth) + 2 + depth*colour + colour + colour``.

    Args:
        colour: channels of the colour features.
        depth: channels of the depth features.
    """

    def __init__(self, colour: int, depth: int) -> None:
        super().__init__()
        self.gate = nn.Conv2d(colour + depth, 2, 1)
        self.last = zero(nn.Conv2d(depth, colour, 1))
        self.replaced = zero(nn.Conv2d(colour, colour, 1, groups=colour, bias=False))

    def forward(self, colour: Tensor, depth: Tensor, valid: Tensor) -> Tensor:
        """The colour features [B, colour, h, w]."""
        for_colour, for_depth = self.gate(torch.cat([colour, depth], dim=1)).chunk(2, dim=1)
        logits = torch.cat([for_colour, for_depth + valid.log()], dim=1)  # log 0 is -∞, whose exponential is 0
        share = logits.softmax(dim=1).narrow(1, 1, 1)  # [B, 1, h, w]
        said = share * (self.last(depth) + self.replaced(colour))
        return cast(Tensor, colour + said.to(colour.dtype))
