"""ResNet: a pyramid of five levels from residual convolutions (He et al., CVPR 2016), torchvision's layers."""

import re
from collections.abc import Mapping, Sequence

import torchvision
from torch import Tensor, nn

from segkit.backbones.backbone import ImageBackbone, select_levels

STRIDES = (2, 4, 8, 16, 32)


class ResNet(ImageBackbone):
    """A pyramid of strides (2, 4, 8, 16, 32): after the first convolution, then after each of the four layers.

    Args:
        name: torchvision's name of the network, ``resnet18`` to ``resnet152``.
        in_channels: channels of the image.
        levels: indices of the levels to return; None returns all. Layers coarser than the last one are not kept.
    """

    def __init__(self, name: str, *, in_channels: int = 3, levels: Sequence[int] | None = None) -> None:
        super().__init__(in_channels)
        self.levels = select_levels(levels, len(STRIDES))
        network = torchvision.models.get_model(name, weights=None)
        if in_channels != 3:
            network.conv1 = nn.Conv2d(in_channels, 64, kernel_size=7, stride=2, padding=3, bias=False)
            nn.init.kaiming_normal_(network.conv1.weight, mode="fan_out", nonlinearity="relu")
        self.stem = nn.Sequential(network.conv1, network.bn1, network.relu)
        self.pool = network.maxpool
        layers = [network.layer1, network.layer2, network.layer3, network.layer4]
        self.layers = nn.ModuleList(layers[: self.levels[-1]])

        expansion = network.fc.in_features // 512
        channels = (64, *(width * expansion for width in (64, 128, 256, 512)))
        self.channels = tuple(channels[i] for i in self.levels)
        self.strides = tuple(STRIDES[i] for i in self.levels)

    @property
    def stages(self) -> list[nn.Module]:
        """The first convolution with its norm, then the residual layers."""
        return [self.stem, *self.layers]

    def pyramid(self, image: Tensor) -> list[Tensor]:
        """The selected levels of a batch of images, finest first."""
        x = self.stem(image)
        levels = [x]
        for i, layer in enumerate(self.layers):
            x = layer(x if i else self.pool(x))
            levels.append(x)
        return [levels[i] for i in self.levels]

    def own_names(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """torchvision's or timm's state dict under this backbone's names; own names pass unchanged."""
        return {_own_name(key): value for key, value in state.items() if not key.startswith("fc.")}


def _own_name(key: str) -> str:
    key = re.sub(r"^conv1\.", "stem.0.", re.sub(r"^bn1\.", "stem.1.", key))
    return re.sub(r"^layer(\d)\.", lambda found: f"layers.{int(found[1]) - 1}.", key)
