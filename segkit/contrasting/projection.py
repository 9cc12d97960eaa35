"""From a backbone's pyramid to the space that two modalities share: one vector an image, or one a cell."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segkit.backbones.bridged import nearest_level


class ImageProjection(nn.Module):
    """Pyramid → [B, D]: the coarsest level's mean over its cells, LayerNorm, and two linear layers with a GELU between.

    The second layer is what makes features before it better than after it (SimCLR, Chen et al., ICML 2020).

    Args:
        channels: of each level, finest first.
        dim: D.
    """

    def __init__(self, channels: Sequence[int], dim: int) -> None:
        super().__init__()
        width = channels[-1]
        self.layers = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.Linear(width, dim))

    def forward(self, pyramid: Sequence[Tensor]) -> Tensor:
        """[B, D]; lengths mean nothing."""
        found: Tensor = self.layers(pyramid[-1].mean(dim=(2, 3)))
        return found


class DenseProjection(nn.Module):
    """Pyramid → [B, D, h, w] on the grid of one level: of it and all coarser ones a linear map, summed; GELU; linear.

    So what the finest of them says is told in the light of what lies around, and all of them learn.

    Attributes:
        stride: pixels along a side of a cell.

    Args:
        channels, strides: of each level, finest first.
        dim: D.
        stride: which level's grid: the nearest one there is.
    """

    def __init__(self, channels: Sequence[int], strides: Sequence[int], dim: int, *, stride: int = 4) -> None:
        super().__init__()
        self.finest = nearest_level(stride, strides)
        self.stride = strides[self.finest]
        self.lateral = nn.ModuleList(nn.Conv2d(width, dim, 1) for width in channels[self.finest :])
        self.last = nn.Conv2d(dim, dim, 1)

    def forward(self, pyramid: Sequence[Tensor]) -> Tensor:
        """[B, D, h, w]; lengths mean nothing."""
        levels = [layer(level) for layer, level in zip(self.lateral, pyramid[self.finest :], strict=True)]
        size = levels[0].shape[2:]
        total = levels[0]
        for level in levels[1:]:
            total = total + F.interpolate(level, size, mode="bilinear")
        found: Tensor = self.last(F.gelu(total))
        return found


def at_places(cells: Tensor, stride: int, place: Tensor) -> Tensor:
    """Vectors [N, D] of a grid [B, D, h, w] at pixels, linear between the middles of its cells.

    Args:
        cells: the grid, which begins at the image's top left corner.
        stride: pixels along a side of a cell.
        place: int64 [N, 3], (image, row, column) in pixels.
    """
    height, width = cells.shape[2:]
    # In -1..1 over the whole grid, x first.
    y = (2 * place[:, 1] + 1) / (height * stride) - 1
    x = (2 * place[:, 2] + 1) / (width * stride) - 1
    where = torch.stack([x, y], dim=1).to(cells.dtype)
    found = cells.new_zeros(len(place), cells.shape[1])
    for image in range(len(cells)):
        rows = (place[:, 0] == image).nonzero().flatten()
        if len(rows):
            grid = where[rows].view(1, 1, -1, 2)
            own = F.grid_sample(cells[image : image + 1], grid, padding_mode="border", align_corners=False)
            found = found.index_put((rows,), own[0, :, 0].T)
    return found
