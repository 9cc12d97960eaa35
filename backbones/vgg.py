"""VGG19 with BatchNorm: five levels of plain 3×3 convolutions (Simonyan and Zisserman, ICLR 2015), torchvision's."""

from collections.abc import Sequence

from torch import nn
from torchvision.models.vgg import cfgs, make_layers

from segkit.backbones.chain import Chain, fit_channels


class VGG(Chain):
    """A pyramid of strides (1, 2, 4, 8, 16), each level after the last convolution of its size.

    Poolings count a last row or column that has no partner, so levels have ceil sizes; values are torchvision's, up to
    the border where 16 divides the image's sides. The last pooling, which only feeds the classifier, is left out.

    Args:
        in_channels: channels of the image.
        levels: indices of the levels to return; None returns all. Layers coarser than the last one are not kept.
    """

    def __init__(self, *, in_channels: int = 3, levels: Sequence[int] | None = None) -> None:
        # Only the convolutions: the whole network would draw 124 million numbers for a classifier nobody uses.
        features = make_layers(cfgs["E"], batch_norm=True)
        for layer in features:
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
        features[0] = fit_channels(features[0], in_channels)
        pools = [i for i, layer in enumerate(features) if isinstance(layer, nn.MaxPool2d)]
        for i in pools:
            features[i].ceil_mode = True
        stages = [features[start:end] for start, end in zip((0, *pools), pools, strict=False)]
        super().__init__(stages, (64, 128, 256, 512, 512), (1, 2, 4, 8, 16), in_channels=in_channels, levels=levels)
