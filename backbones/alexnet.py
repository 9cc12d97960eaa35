"""AlexNet: a pyramid of three levels from five convolutions (Krizhevsky et al., NIPS 2012), torchvision's layers."""

from collections.abc import Sequence

import torchvision

from segkit.backbones.chain import Chain, fit_channels


class AlexNet(Chain):
    """A pyramid of strides (4, 8, 16), so small that a stem in front of it often pays.

    The first convolution and the poolings are padded by half their kernel: a level's pixel o is centred on the image's
    pixel o·stride, and levels have ceil sizes. Away from borders, values are torchvision's on a grid shifted by
    stride - 1 pixels. The last pooling, which only feeds the classifier, is left out.

    Args:
        in_channels: channels of the image.
        levels: indices of the levels to return; None returns all. Layers coarser than the last one are not kept.
    """

    def __init__(self, *, in_channels: int = 3, levels: Sequence[int] | None = None) -> None:
        features = torchvision.models.alexnet(weights=None).features
        features[0] = fit_channels(features[0], in_channels)
        features[0].padding = (5, 5)
        features[2].padding = features[5].padding = 1
        stages = [features[:2], features[2:5], features[5:12]]
        super().__init__(stages, (64, 192, 256), (4, 8, 16), in_channels=in_channels, levels=levels)
