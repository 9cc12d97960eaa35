"""Learned full- and half-resolution maps for vessels, edges and other thin things, alone or before any backbone."""

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from segkit.backbones.backbone import Backbone, select_levels
from segkit.backbones.chain import Chain
from segkit.parts import Positive


class Stem(Chain):
    """A pyramid of strides 1, 2, 4, …: for each, two 3×3 convolutions with BatchNorm and ReLU.

    Args:
        in_channels: channels of the image.
        levels: indices of the levels to return; None returns all. Coarser ones are not built.
        width: channels at stride 1; each further stride has twice as many.
        depth: number of strides.
    """

    def __init__(
        self, *, in_channels: int = 3, levels: Sequence[int] | None = None, width: Positive = 32, depth: Positive = 2
    ) -> None:
        if width < 1 or depth < 1:
            raise ValueError(f"width is {width} and depth {depth}; expected 1 or more")
        widths = [width * 2**i for i in range(depth)]
        stages = []
        for i in range(select_levels(levels, depth)[-1] + 1):
            incoming, stride = (widths[i - 1], 2) if i else (in_channels, 1)
            stages.append(nn.Sequential(*_conv(incoming, widths[i], stride), *_conv(widths[i], widths[i], 1)))
        super().__init__(stages, widths, [2**i for i in range(depth)], in_channels=in_channels, levels=levels)

    def own_names(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The same names: nobody published a stem."""
        return dict(state)


class Stemmed(Backbone):
    """A backbone's pyramid with a stem's in front: learned maps of every power of two below its finest stride.

    A Swin of strides (4, 8, 16, 32) becomes (1, 2, 4, 8, 16, 32); a ResNet gains stride 1.

    Args:
        backbone: any backbone whose finest stride is 2, 4, 8, …
        in_channels: channels of the image.
        width: channels at stride 1; each further stride of the stem has twice as many.

    Raises ValueError where there is no stride to add.
    """

    def __init__(self, backbone: Backbone, *, in_channels: int = 3, width: int = 32) -> None:
        super().__init__()
        finest = backbone.strides[0]
        if finest < 2 or finest & (finest - 1):
            raise ValueError(f"the backbone's finest stride is {finest}; a stem goes before strides 2, 4, 8, …")
        self.stem = Stem(in_channels=in_channels, width=width, depth=finest.bit_length() - 1)
        self.backbone = backbone
        self.channels = (*self.stem.channels, *backbone.channels)
        self.strides = (*self.stem.strides, *backbone.strides)
        self.modalities = backbone.modalities
        self.pretrained = backbone.pretrained

    @property
    def stages(self) -> list[nn.Module]:
        """The stem's stages, then the backbone's."""
        return [*self.stem.stages, *self.backbone.stages]

    @property
    def trunks(self) -> list[Backbone]:
        """The backbone's own: the stem is always new."""
        return self.backbone.trunks

    def forward(self, image: Tensor, depth: Tensor | None = None) -> list[Tensor]:
        """The stem's levels of the image, then the backbone's; the backbone alone sees the depth map."""
        return [*self.stem(image), *self.backbone(image, depth)]


def _conv(incoming: int, outgoing: int, stride: int) -> list[nn.Module]:
    return [
        nn.Conv2d(incoming, outgoing, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(outgoing),
        nn.ReLU(inplace=True),
    ]
