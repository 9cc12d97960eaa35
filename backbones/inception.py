"""Inception v3: five levels from convolutions of several shapes side by side (Szegedy et al., CVPR 2016)."""

from collections import OrderedDict
from collections.abc import Sequence

import torchvision
from torch import nn

from segkit.backbones.chain import Chain, fit_channels

STAGES = (
    ("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3"),
    ("maxpool1", "Conv2d_3b_1x1", "Conv2d_4a_3x3"),
    ("maxpool2", "Mixed_5b", "Mixed_5c", "Mixed_5d"),
    ("Mixed_6a", "Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"),
    ("Mixed_7a", "Mixed_7b", "Mixed_7c"),
)


class Inception(Chain):
    """A pyramid of strides (2, 4, 8, 16, 32) from torchvision's layers, without its auxiliary classifier.

    Convolutions and poolings that torchvision leaves unpadded are padded by half their kernel: a level's pixel o is
    centred on the image's pixel o·stride, and levels have ceil sizes. Away from borders, values are torchvision's on a
    grid shifted by 3, 9, 13, 21 and 37 pixels. The published weights were trained on pixels scaled to -1..1: a mean and
    standard deviation of 0.5 suits them.

    Args:
        in_channels: channels of the image.
        levels: indices of the levels to return; None returns all. Layers coarser than the last one are not kept.
    """

    def __init__(self, *, in_channels: int = 3, levels: Sequence[int] | None = None) -> None:
        network = torchvision.models.inception_v3(
            weights=None, aux_logits=False, transform_input=False, init_weights=False
        )
        # torchvision's own draw grows from layer to layer, to 10⁹ where running statistics aren't learnt yet.
        for part in network.modules():
            if isinstance(part, nn.Conv2d):
                nn.init.kaiming_normal_(part.weight, mode="fan_in", nonlinearity="relu")
        first = network.Conv2d_1a_3x3
        first.conv = fit_channels(first.conv, in_channels)
        for unpadded in (first, network.Conv2d_2a_3x3, network.Conv2d_4a_3x3):
            unpadded.conv.padding = (1, 1)
        network.maxpool1.padding = network.maxpool2.padding = 1
        stages = [nn.Sequential(OrderedDict((name, getattr(network, name)) for name in names)) for names in STAGES]
        # The two blocks that shrink the map run three branches without padding. A ring of zeros around what they are
        # given pads them all: their maximum too, because what comes in has passed a ReLU.
        for i in (3, 4):
            stages[i] = nn.Sequential(OrderedDict([(f"ring{i}", nn.ZeroPad2d(1)), *stages[i].named_children()]))
        super().__init__(stages, (64, 192, 288, 768, 2048), (2, 4, 8, 16, 32), in_channels=in_channels, levels=levels)
