"""Convolutional upsampling: back to the image's size by doubling, with a convolution after each."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from segkit.heads.head import Head


class UpsampleHead(Head):
    """Double the map until no factor of two is left in its stride, then turn each pixel's features into K logits.

    Each doubling is followed by a 3×3 convolution with BatchNorm and ReLU that halves the channels. An odd stride has
    one such convolution without doubling, and what is left of the stride is made up by enlarging the logits.

    Args:
        channels: channels of the map.
        stride: image pixels per pixel of the map.
        classes: number of logit maps, K.
        width: halving the channels stops here.
    """

    def __init__(self, channels: int, stride: int, classes: int, *, width: int = 16) -> None:
        super().__init__()
        if min(channels, stride, classes, width) < 1:
            raise ValueError(
                f"channels, stride, classes and width are {(channels, stride, classes, width)}; expected 1 or more"
            )
        doublings = (stride & -stride).bit_length() - 1  # factors of two in the stride
        widths = [max(width, channels >> (i + 1)) for i in range(max(doublings, 1))]
        self.stride = stride
        self.ratios = (2,) * doublings or (1,)
        self.steps = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(incoming, outgoing, 3, padding=1, bias=False),
                nn.BatchNorm2d(outgoing),
                nn.ReLU(inplace=True),
            )
            for incoming, outgoing in zip([channels, *widths], widths, strict=False)
        )
        self.classify = nn.Conv2d(widths[-1], classes, 1)

    def forward(self, levels: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        """Logits [B, K, *size] from ``levels[0]`` [B, channels, ⌈H/stride⌉, ⌈W/stride⌉]."""
        x, stride = levels[0], self.stride
        for ratio, step in zip(self.ratios, self.steps, strict=True):
            stride //= ratio
            x = step(_enlarge(x, ratio, stride, size))
        return _enlarge(self.classify(x), stride, 1, size)


def _enlarge(x: Tensor, ratio: int, stride: int, size: tuple[int, int]) -> Tensor:
    """Bilinear by exactly ``ratio``, cropped at the bottom and right to what ``size`` measures at ``stride``.

    Cropping instead of resizing keeps the grids aligned at the top left at any size.
    """
    if ratio > 1:
        x = F.interpolate(x, scale_factor=ratio, mode="bilinear", align_corners=False)
    return x[..., : -(-size[0] // stride), : -(-size[1] // stride)]
