"""Convolutional upsampling: back to the image's size by doubling, with a convolution after each."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from segkit.heads.head import Head, at_least_one, doublings_in
from segkit.heads.resample import enlarge
from segkit.parts import Positive


class UpsampleHead(Head):
    """Double the map until no factor of two is left in its stride, then turn each pixel's features into K logits.

    Each doubling is followed by a 3×3 convolution with BatchNorm and ReLU that halves the channels. Where there is no
    doubling, there is one such convolution. What is left of the stride is made up by enlarging the logits, which is the
    same as enlarging the features first: a 1×1 convolution and bilinear enlargement can change places.

    Args:
        channels: channels of the map.
        stride: image pixels per pixel of the map.
        classes: number of logit maps, K.
        width: halving the channels stops here.
        doublings: at most so many; 2 makes "upsample, convolve, twice; upsample; classify" of any stride from 8 on.
    """

    def __init__(
        self,
        channels: int,
        stride: int,
        classes: int,
        *,
        width: Positive = 16,
        doublings: Annotated[int, Field(ge=0)] | None = None,
    ) -> None:
        super().__init__()
        at_least_one(channels=channels, stride=stride, classes=classes, width=width)
        if doublings is not None and doublings < 0:
            raise ValueError(f"doublings is {doublings}; expected 0 or more")
        possible = doublings_in(stride)
        count = possible if doublings is None else min(doublings, possible)
        widths = [max(width, channels >> (i + 1)) for i in range(max(count, 1))]
        self.stride = stride
        self.ratios = (2,) * count or (1,)
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
            x = step(enlarge(x, ratio, stride, size))
        return enlarge(self.classify(x), stride, 1, size)
