"""ResDeconv: residual blocks down and transposed convolutions up again, a pyramid of five finished levels.

The way down is a ResNet of basic blocks (He et al., CVPR 2016) that begins at the image's own size; the way up enlarges
each level by a transposed convolution and joins it with the level of that size from the way down (Ronneberger et al.,
MICCAI 2015). The transposed convolutions have kernels of twice their stride, so that every output pixel gathers from
equally many inputs (Odena et al., Distill 2016), and start as bilinear enlargement (Long et al., CVPR 2015, §3.3).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock

from segkit.backbones.backbone import ImageBackbone, select_levels
from segkit.parts import Positive

STRIDES = (1, 2, 4, 8, 16)


class Enlarge(nn.Module):
    """A level at twice the size, joined with what the way down found there: [B, C, ⌈h/2⌉, ⌈w/2⌉] → [B, C/2, h, w].

    Args:
        fine: channels of the finer level; the coarse one has twice as many.
    """

    def __init__(self, fine: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(2 * fine, fine, kernel_size=4, stride=2, padding=1)
        self.block = _block(2 * fine, fine)
        _start_bilinear(self.up)

    def forward(self, coarse: Tensor, skip: Tensor) -> Tensor:
        """The finer level; ``skip`` is [B, C/2, h, w]."""
        height, width = skip.shape[-2:]
        # Cropped at the bottom and right: the grids stay aligned.
        enlarged = self.up(coarse).narrow(-2, 0, height).narrow(-1, 0, width)
        joined: Tensor = self.block(torch.cat([enlarged, skip], dim=1))
        return joined


class ResDeconv(ImageBackbone):
    """A pyramid of strides (1, 2, 4, 8, 16) with width · (1, 2, 4, 8, 16) channels, full resolution first.

    Args:
        in_channels: channels of the image.
        levels: indices of the levels to return; None returns all. Every level knows of the coarser ones, so these are
            always built; steps up beyond the finest one are not.
        width: channels at full resolution; each further stride has twice as many.
        blocks: residual blocks at each stride of the way down; two of them at width 16 make 4.1 million parameters.
    """

    def __init__(
        self, *, in_channels: int = 3, levels: Sequence[int] | None = None, width: Positive = 16, blocks: Positive = 2
    ) -> None:
        super().__init__(in_channels)
        if width < 1 or blocks < 1:
            raise ValueError(f"width is {width} and blocks {blocks}; expected 1 or more")
        self.levels = select_levels(levels, len(STRIDES))
        widths = [width * stride for stride in STRIDES]
        self.channels = tuple(widths[i] for i in self.levels)
        self.strides = tuple(STRIDES[i] for i in self.levels)

        first = nn.Sequential(
            nn.Conv2d(in_channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)
        )
        self.down = nn.ModuleList([nn.Sequential(*first, *(_block(width, width) for _ in range(blocks)))])
        for coarse, fine in zip(widths[1:], widths[:-1], strict=True):
            further = (_block(coarse, coarse) for _ in range(blocks - 1))
            self.down.append(nn.Sequential(_block(fine, coarse, stride=2), *further))
        self.up = nn.ModuleList(Enlarge(widths[i]) for i in reversed(range(self.levels[0], len(widths) - 1)))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    @property
    def stages(self) -> list[nn.Module]:
        """The way down from the image on, then the way up."""
        return [*self.down, *self.up]

    def pyramid(self, image: Tensor) -> list[Tensor]:
        """The selected levels of a batch of images, finest first."""
        x, found = image, []
        for layer in self.down:
            x = layer(x)
            found.append(x)
        for i, layer in enumerate(self.up):
            fine = len(found) - 2 - i
            found[fine] = layer(found[fine + 1], found[fine])
        return [found[i] for i in self.levels]


def _block(incoming: int, outgoing: int, stride: int = 1) -> nn.Module:
    shortcut = None
    if stride != 1 or incoming != outgoing:
        shortcut = nn.Sequential(nn.Conv2d(incoming, outgoing, 1, stride, bias=False), nn.BatchNorm2d(outgoing))
    block: nn.Module = BasicBlock(incoming, outgoing, stride, shortcut)
    return block


def _start_bilinear(up: nn.ConvTranspose2d) -> None:
    """Begin as a random 1×1 convolution followed by bilinear enlargement by two: no checkerboard to unlearn."""
    row = torch.tensor([0.25, 0.75, 0.75, 0.25])
    mix = torch.empty(up.in_channels, up.out_channels, 1, 1)
    nn.init.normal_(mix, std=up.in_channels**-0.5)  # keeps the size of what comes in
    with torch.no_grad():
        up.weight.copy_(mix * row[:, None] * row)
        if up.bias is not None:
            up.bias.zero_()
