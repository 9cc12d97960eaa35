"""Sub-pixel convolution: every pixel of the map writes its own block of logits (Shi et al., CVPR 2016)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from segkit.heads.head import Head, at_least_one
from segkit.heads.resample import crop
from segkit.parts import Positive


class PixelShuffleHead(Head):
    """Two 3×3 convolutions at the map's own size; the second gives stride² · K channels, laid out as image pixels.

    All computing is done at the map's size, so the head is cheap, and any stride is exact. It starts as a convolution
    with nearest-neighbour enlargement (ICNR: Aitken et al., arXiv 1707.02937), free of checkerboards.

    Args:
        channels: channels of the map.
        stride: image pixels per pixel of the map.
        classes: number of logit maps, K.
        width: channels between the two convolutions.
    """

    def __init__(self, channels: int, stride: int, classes: int, *, width: Positive = 64) -> None:
        super().__init__()
        at_least_one(channels=channels, stride=stride, classes=classes, width=width)
        self.mix = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)
        )
        self.classify = nn.Conv2d(width, classes * stride**2, 3, padding=1)
        self.shuffle = nn.PixelShuffle(stride)
        _start_equal(self.classify, stride**2)

    def forward(self, levels: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        """Logits [B, K, *size] from ``levels[0]`` [B, channels, ⌈H/stride⌉, ⌈W/stride⌉]."""
        # [B, width, h, w] → [B, stride²·K, h, w] → [B, K, stride·h, stride·w]
        return crop(self.shuffle(self.classify(self.mix(levels[0]))), 1, size)


@torch.no_grad()
def _start_equal(convolution: nn.Conv2d, repeats: int) -> None:
    """Give all outputs that become one block the same weights and bias: channel k·repeats + i is pixel i of class k."""
    for parameter in convolution.parameters():
        parameter.copy_(parameter[::repeats].repeat_interleave(repeats, dim=0))
