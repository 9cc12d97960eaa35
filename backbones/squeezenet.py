"""SqueezeNet 1.1: four levels from squeezed 1×1 and 3×3 convolutions (Iandola et al., 2016), torchvision's layers."""

from collections.abc import Sequence

import torchvision

from segkit.backbones.chain import Chain, fit_channels


class SqueezeNet(Chain):
    """A pyramid of strides (2, 4, 8, 16) from 0.7 million parameters.

    The first convolution and the poolings are padded by half their kernel: a level's pixel o is centred on the image's
    pixel o·stride, and levels have ceil sizes. Away from borders, values are torchvision's on a grid shifted by
    stride - 1 pixels.

    Args:
        in_channels: channels of the image.
        levels: indices of the levels to return; None returns all. Layers coarser than the last one are not kept.
    """

    def __init__(self, *, in_channels: int = 3, levels: Sequence[int] | None = None) -> None:
        features = torchvision.models.squeezenet1_1(weights=None).features
        features[0] = fit_channels(features[0], in_channels)
        features[0].padding = (1, 1)
        for pool in (features[2], features[5], features[8]):
            pool.padding, pool.ceil_mode = 1, False
        stages = [features[:2], features[2:5], features[5:8], features[8:]]
        super().__init__(stages, (64, 128, 256, 512), (2, 4, 8, 16), in_channels=in_channels, levels=levels)
