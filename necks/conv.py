"""Convolution, BatchNorm and ReLU: what every neck is made of."""

from torch import nn


def conv_norm_relu(incoming: int, outgoing: int, *, kernel: int = 3) -> list[nn.Module]:
    """The three layers in order, [B, incoming, h, w] → [B, outgoing, h, w]; ``kernel`` is odd."""
    return [
        nn.Conv2d(incoming, outgoing, kernel, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(outgoing),
        nn.ReLU(inplace=True),
    ]
