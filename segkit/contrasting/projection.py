"""From a backbone's pyramid to the space that two modalities share: one vector an image, or one a cell."""

from collections.abc import Sequence
from itertools import product

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


def in_parts(cells: Tensor, stride: int, window: tuple[int, int, int, int], parts: int) -> Tensor:
    """Vectors float32 [B, parts² · D] of whole pictures: unit vectors at the middles of a window's parts, in a row.

    The cosine of two such vectors is the mean of the cosines of their parts: a thing that is in one picture and not in
    another of the same place shows at once, while in a mean of all it is lost (late interaction, as FILIP's, Yao et
    al., ICLR 2022, of parts that lie at the same place).

    Args:
        cells: a grid [B, D, h, w], which begins at the image's top left corner.
        stride: pixels along a side of a cell.
        window: top, left, height and width in pixels.
        parts: along each side.
    """
    top, left, height, width = window
    step = (torch.arange(parts, device=cells.device) + 0.5) / parts
    rows, columns = (top + step * height).long(), (left + step * width).long()
    place = torch.cartesian_prod(torch.arange(len(cells), device=cells.device), rows, columns)
    return F.normalize(at_places(cells, stride, place), dim=1).view(len(cells), -1)


def at_places(cells: Tensor, stride: int, place: Tensor) -> Tensor:
    """Vectors float32 [N, D] of a grid [B, D, h, w] at pixels, linear between the middles of its cells.

    Args:
        cells: the grid, which begins at the image's top left corner.
        stride: pixels along a side of a cell.
        place: int64 [N, 3], (image, row, column) in pixels.
    """
    corners, shares = [], []
    for pixel, side in zip(place[:, 1:].T, cells.shape[2:], strict=True):
        cell = ((pixel + 0.5) / stride - 0.5).clamp(0, side - 1)
        low = cell.floor().long()
        share = cell - low
        corners.append((low, (low + 1).clamp(max=side - 1)))
        shares.append((1 - share, share))
    found = torch.zeros(len(place), cells.shape[1], device=cells.device)
    for i, j in product((0, 1), (0, 1)):
        share = (shares[0][i] * shares[1][j])[:, None]
        found = found + share * cells[place[:, 0], :, corners[0][i], corners[1][j]]
    return found
