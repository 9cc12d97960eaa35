"""Parts of images brought to one size in batches: each image its own window, by one sampling."""

from math import ceil, log

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

ATTEMPTS = 10


def draw_windows(
    extent: NDArray[np.int64], scale: tuple[float, float], ratio: tuple[float, float], draws: np.random.Generator
) -> NDArray[np.int64]:
    """Windows (top, left, height, width) int64 [B, 4] in images of extents (h, w) [B, 2], as RandomResizedCrop.

    Area from ``scale``, uniform; width / height from ``ratio``, uniform in its logarithm; whole pixels. The first of
    ten attempts that fits is taken, and where none does, the largest central window of a shape within ``ratio``
    (Szegedy et al., CVPR 2015, as in torchvision).
    """
    count = len(extent)
    height, width = extent[:, :1], extent[:, 1:]
    area = height * width * draws.uniform(*scale, (count, ATTEMPTS))
    shape = np.exp(draws.uniform(log(ratio[0]), log(ratio[1]), (count, ATTEMPTS)))
    high, wide = (np.rint(np.sqrt(side)).astype(np.int64) for side in (area / shape, area * shape))
    fits = (high > 0) & (high <= height) & (wide > 0) & (wide <= width)
    rows, first = np.arange(count), fits.argmax(1)
    whole = width[:, 0] / height[:, 0]
    central = np.stack(
        [
            np.where(whole < ratio[0], np.rint(width[:, 0] / ratio[0]), height[:, 0]),
            np.where(whole > ratio[1], np.rint(height[:, 0] * ratio[1]), width[:, 0]),
        ],
        axis=1,
    ).astype(np.int64)
    found = fits.any(1, keepdims=True)
    sides = np.where(found, np.stack([high[rows, first], wide[rows, first]], axis=1), central)
    sides = sides.clip(1, extent)
    corner = np.where(found, np.floor(draws.random((count, 2)) * (extent - sides + 1)), (extent - sides) // 2)
    return np.concatenate([corner.astype(np.int64), sides], axis=1)


def whole_windows(extent: NDArray[np.int64]) -> NDArray[np.int64]:
    """The windows that are the whole images: int64 [B, 4]."""
    return np.concatenate([np.zeros_like(extent), extent], axis=1)


def seen_through(
    image: Tensor,
    extent: NDArray[np.int64],
    windows: NDArray[np.int64],
    mirrored: NDArray[np.bool_],
    size: tuple[int, int],
) -> Tensor:
    """Windows brought to a size, bilinear: uint8 [B, C, H, W] → float32 [B, C, h, w] in 0..1.

    A window is sampled at points that are two pixels apart at most, which loses nothing between them; where these are
    more points than come out, means of them are taken. Outside an image its edge is repeated.

    Args:
        image: the batch, padded at the right and bottom.
        extent: the true (h, w) of each, [B, 2].
        windows: (top, left, height, width) of each, [B, 4].
        mirrored: whether each is turned left to right, [B].
        size: (h, w) of what comes out.
    """
    finer = [max(1, ceil(windows[:, 2 + axis].max() / (2 * size[axis]))) for axis in (0, 1)]
    counts = [finer[axis] * size[axis] for axis in (0, 1)]
    given = np.concatenate([windows, extent, mirrored[:, None]], axis=1).astype(np.float32)
    top, left, high, wide, height, width, turned = (
        column.view(-1, 1) for column in torch.from_numpy(given).to(image.device, non_blocking=True).unbind(1)
    )
    down, across = ((torch.arange(count, device=image.device) + 0.5) / count for count in counts)
    across = torch.where(turned > 0, 1 - across, across)  # [B, w]
    rows = (top + high * down - 0.5).clamp(torch.zeros_like(height), height - 1)  # [B, h], centres of pixels
    columns = (left + wide * across - 0.5).clamp(torch.zeros_like(width), width - 1)
    x, y = ((columns + 0.5) * (2 / image.shape[3]) - 1, (rows + 0.5) * (2 / image.shape[2]) - 1)
    shape = (len(image), counts[0], counts[1])
    grid = torch.stack([x[:, None, :].expand(shape), y[:, :, None].expand(shape)], dim=-1)  # [B, h, w, 2]
    seen = F.grid_sample(image.float(), grid, mode="bilinear", padding_mode="border", align_corners=False)
    if max(finer) > 1:
        seen = F.avg_pool2d(seen, tuple(finer))
    return seen.div_(255).clamp_(0, 1)


def moved(image: Tensor, offsets: NDArray[np.int64], mirrored: NDArray[np.bool_], pad: int) -> Tensor:
    """Images moved by whole pixels over black: [B, C, h, w] of the same type.

    Args:
        image: [B, C, h, w].
        offsets: down and across, in -pad..pad, [B, 2]: what comes from that many pixels further.
        mirrored: whether each is turned left to right afterwards, [B].
        pad: the largest offset.
    """
    height, width = image.shape[2:]
    rows = np.arange(height) + offsets[:, :1] + pad  # [B, h]
    columns = np.arange(width) + offsets[:, 1:] + pad
    columns = np.where(mirrored[:, None], columns[:, ::-1], columns)
    both = torch.from_numpy(np.concatenate([rows * (width + 2 * pad), columns], axis=1))
    both = both.to(image.device, non_blocking=True)
    flat = (both[:, :height, None] + both[:, None, height:]).view(len(both), 1, -1)  # [B, 1, h·w]
    return F.pad(image, (pad,) * 4).flatten(2).gather(2, flat.expand(-1, image.shape[1], -1)).view_as(image)
