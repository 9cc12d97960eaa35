"""Transposed convolutions: back to the image's size by doublings that are learned (Long et al., CVPR 2015)."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from segkit.heads.head import Head, at_least_one, doublings_in
from segkit.heads.resample import crop, enlarge
from segkit.parts import Positive


class TransposedHead(Head):
    """Double the map by transposed convolutions until no factor of two is left in its stride, then K logits a pixel.

    Each doubling has BatchNorm and ReLU and halves the channels. Its kernel is 4, twice its step, so that every pixel
    gathers from equally many (Odena et al., Distill 2016), and starts as bilinear enlargement. What is left of the
    stride is made up by enlarging the logits.

    Args:
        channels: channels of the map.
        stride: image pixels per pixel of the map.
        classes: number of logit maps, K.
        width: halving the channels stops here.
    """

    def __init__(self, channels: int, stride: int, classes: int, *, width: Positive = 16) -> None:
        super().__init__()
        at_least_one(channels=channels, stride=stride, classes=classes, width=width)
        widths = [channels, *(max(width, channels >> (i + 1)) for i in range(doublings_in(stride)))]
        self.stride = stride
        self.steps = nn.ModuleList(
            nn.Sequential(_doubling(incoming, outgoing), nn.BatchNorm2d(outgoing), nn.ReLU(inplace=True))
            for incoming, outgoing in pairwise(widths)
        )
        self.classify = nn.Conv2d(widths[-1], classes, 1)

    def forward(self, levels: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        """Logits [B, K, *size] from ``levels[0]`` [B, channels, ⌈H/stride⌉, ⌈W/stride⌉]."""
        x, stride = levels[0], self.stride
        for step in self.steps:
            stride //= 2
            x = crop(step(x), stride, size)
        return enlarge(self.classify(x), stride, 1, size)


def _doubling(incoming: int, outgoing: int) -> nn.ConvTranspose2d:
    """A transposed convolution that begins as a random 1×1 convolution with bilinear enlargement by two."""
    up = nn.ConvTranspose2d(incoming, outgoing, kernel_size=4, stride=2, padding=1, bias=False)
    row = torch.tensor([0.25, 0.75, 0.75, 0.25])
    mix = torch.empty(incoming, outgoing, 1, 1)
    nn.init.normal_(mix, std=(2 / incoming) ** 0.5)
    with torch.no_grad():
        up.weight.copy_(mix * row[:, None] * row)
    return up
