"""A second modality as further channels of the image: the plain baseline to bridges."""

import torch
from torch import Tensor, nn

from segkit.backbones.backbone import Backbone


class Stacked(Backbone):
    """One backbone that sees the image and the encoded second modality as the channels of a single picture.

    Where a picture has no measured pixel, whatever its values are, and where ``depth=None``, these channels are zero.

    Args:
        backbone: of C + ``depth_channels`` channels.
        depth_channels: of the second modality: E of values and one of validity, which comes last.

    Raises ValueError for a backbone of other modalities than the image, and for fewer than two channels of depth.
    """

    modalities = ("image", "depth")

    def __init__(self, backbone: Backbone, *, depth_channels: int) -> None:
        super().__init__()
        if backbone.modalities != ("image",):
            raise ValueError(f"the backbone sees {' and '.join(backbone.modalities)}; expected the image alone")
        if depth_channels < 2:
            raise ValueError(f"depth_channels is {depth_channels}; expected 2 or more, values and validity")
        self.backbone = backbone
        self.depth_channels = depth_channels
        self.channels = backbone.channels
        self.strides = backbone.strides
        self.pretrained = backbone.pretrained

    @property
    def stages(self) -> list[nn.Module]:
        """The backbone's."""
        return self.backbone.stages

    @property
    def trunks(self) -> list[Backbone]:
        """The backbone's own."""
        return self.backbone.trunks

    def forward(self, image: Tensor, depth: Tensor | None = None) -> list[Tensor]:
        """The levels of images [B, C, H, W], finest first.

        Args:
            image: [B, C, H, W].
            depth: values and validity [B, depth_channels, H, W]; None where every picture is without.

        Raises ValueError for a depth of another shape.
        """
        batch, _, height, width = image.shape
        if depth is None:
            depth = image.new_zeros(batch, self.depth_channels, height, width)
        elif depth.shape != (batch, self.depth_channels, height, width):
            raise ValueError(
                f"got depth {list(depth.shape)} for images {list(image.shape)}; expected "
                f"{[batch, self.depth_channels, height, width]}"
            )
        present = (depth[:, -1:] > 0).flatten(1).any(dim=1).view(-1, 1, 1, 1)
        levels: list[Tensor] = self.backbone(torch.cat([image, torch.where(present, depth, 0)], dim=1))
        return levels
