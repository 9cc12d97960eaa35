"""Concatenate and convolve: the classic bridge between two networks."""

from typing import cast

import torch
from torch import Tensor, nn

from segkit.necks.bridges.bridge import Bridge, zero
from segkit.necks.conv import conv_norm_relu
from segkit.parts import Positive


class ConcatBridge(Bridge):
    """Colour and depth stacked, a 3×3 convolution with BatchNorm and ReLU, and a 1×1 convolution added to the colour.

    The 3×3 convolution sees both at once, and its neighbours, so that nothing is prescribed of how they are mixed.
    Between the two convolutions there are few channels: straight to as many as colour has, at a ResNet50's coarsest
    level, would be 47 million parameters.

    Depth features count by the share of their pixel that was measured, 0 where nothing was, and that share is a channel
    of the stack: the convolution can tell what wasn't measured from what is zero.

    Parameters: ``9*(colour + depth + 1)*width + 2*width + width*colour + colour``.

    Args:
        colour: channels of the colour features.
        depth: channels of the depth features.
        width: channels between the convolutions; None: the smaller of the two numbers above.
    """

    def __init__(self, colour: int, depth: int, *, width: Positive | None = None) -> None:
        super().__init__()
        width = width if width is not None else min(colour, depth)
        self.mix = nn.Sequential(*conv_norm_relu(colour + depth + 1, width))
        self.last = zero(nn.Conv2d(width, colour, 1))

    def forward(self, colour: Tensor, depth: Tensor, valid: Tensor) -> Tensor:
        """The colour features [B, colour, h, w]."""
        said = self.last(self.mix(torch.cat([colour, depth * valid, valid], dim=1)))
        return cast(Tensor, colour + said.to(colour.dtype))
