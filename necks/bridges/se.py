"""Squeeze and excite, then add: a bridge that chooses channels (ESANet: Seichter et al., ICRA 2021).

Squeeze-and-Excitation: Hu et al., CVPR 2018.
"""

from typing import cast

from torch import Tensor, nn

from segkit.necks.bridges.bridge import Bridge, zero
from segkit.parts import Positive

LEAST = 1e-3  # share of a picture; means over less than that fade to zero instead of being made up of a few pixels


class SEBridge(Bridge):
    """Colour and depth, each channel weighted by what the whole picture says of it, added up.

    As in the paper each modality weighs its own channels. Unlike there, depth may have other channels than colour: a
    1×1 convolution turns them into colour's, and begins at zero; the weights of the colour channels begin at 1 and stay
    below 2.

    What is added is multiplied by the share of its pixel that was measured: depth adds nothing where nothing was. What
    weighs the depth channels is their mean over what was measured. The weights of the colour channels come from colour
    alone, and hold in the whole picture.

    Parameters: ``2*colour*c + c + colour + 2*depth*d + d + depth + depth*colour``, where
    ``c = max(colour // reduction, 1)`` and ``d = max(depth // reduction, 1)``.

    Args:
        colour: channels of the colour features.
        depth: channels of the depth features.
        reduction: each modality's means pass through a layer so many times narrower.
    """

    def __init__(self, colour: int, depth: int, *, reduction: Positive = 16) -> None:
        super().__init__()
        self.colour_weights = nn.Sequential(*_squeezed(colour, reduction))
        self.depth_weights = nn.Sequential(*_squeezed(depth, reduction))
        zero(cast(nn.Conv2d, self.colour_weights[-1]))
        self.last = zero(nn.Conv2d(depth, colour, 1, bias=False))

    def forward(self, colour: Tensor, depth: Tensor, valid: Tensor) -> Tensor:
        """The colour features [B, colour, h, w]."""
        depth = depth * valid
        measured = valid.mean((2, 3), keepdim=True).clamp(min=LEAST)
        of_colour = 2 * self.colour_weights(colour.mean((2, 3), keepdim=True)).sigmoid()  # [B, colour, 1, 1]
        of_depth = self.depth_weights(depth.mean((2, 3), keepdim=True) / measured).sigmoid()  # [B, depth, 1, 1]
        said = self.last(depth * of_depth)
        return cast(Tensor, (colour * of_colour).to(colour.dtype) + said.to(colour.dtype))


def _squeezed(channels: int, reduction: int) -> list[nn.Module]:
    """The layers between a picture's means and the logits of its channels' weights."""
    inner = max(channels // reduction, 1)
    return [nn.Conv2d(channels, inner, 1), nn.ReLU(inplace=True), nn.Conv2d(inner, channels, 1)]
