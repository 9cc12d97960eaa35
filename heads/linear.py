"""A linear head: each pixel's logits are a weighted sum of its features, enlarged to the image's size."""

from collections.abc import Sequence

from torch import Tensor, nn

from segkit.heads.head import Head, at_least_one
from segkit.heads.resample import enlarge


class LinearHead(Head):
    """A 1×1 convolution on the map, then bilinear enlargement by the stride: the smallest head, a linear probe.

    Args:
        channels: channels of the map.
        stride: image pixels per pixel of the map.
        classes: number of logit maps, K.
    """

    def __init__(self, channels: int, stride: int, classes: int) -> None:
        super().__init__()
        at_least_one(channels=channels, stride=stride, classes=classes)
        self.stride = stride
        self.classify = nn.Conv2d(channels, classes, 1)

    def forward(self, levels: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        """Logits [B, K, *size] from ``levels[0]`` [B, channels, ⌈H/stride⌉, ⌈W/stride⌉]."""
        return enlarge(self.classify(levels[0]), self.stride, 1, size)
