"""Operations on batches of images by a number of each image's own; where torchvision takes one number for all.

Images are float32 [B, C, h, w] in 0..1, C of 1 or 3; numbers are float32 [B, 1, 1, 1]. Each gives what the function of
the same name in ``torchvision.transforms.v2.functional`` gives for each image alone.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

GREY = (0.2989, 0.587, 0.114)  # torchvision's weights of red, green and blue


def adjust_brightness(image: Tensor, factor: Tensor) -> Tensor:
    """Values times ``factor``."""
    return (image * factor).clamp_(0, 1)


def adjust_contrast(image: Tensor, factor: Tensor) -> Tensor:
    """Away from the mean grey by ``factor``."""
    return _away_from(_grey(image).mean((1, 2, 3), keepdim=True), image, factor)


def adjust_saturation(image: Tensor, factor: Tensor) -> Tensor:
    """Away from each pixel's grey by ``factor``; a grey image as it is."""
    return image if image.shape[1] == 1 else _away_from(_grey(image), image, factor)


def adjust_sharpness(image: Tensor, factor: Tensor) -> Tensor:
    """Away from the smoothed image by ``factor``; the outermost pixels as they are."""
    channels, height, width = image.shape[1:]
    if min(height, width) <= 2:
        return image
    kernel = torch.full((channels, 1, 3, 3), 1 / 13, device=image.device)
    kernel[:, :, 1, 1] = 5 / 13
    sharp = image.clone()
    inside = sharp[:, :, 1:-1, 1:-1]
    inside.copy_(_away_from(F.conv2d(image, kernel, groups=channels), inside, factor))
    return sharp


def adjust_hue(image: Tensor, factor: Tensor) -> Tensor:
    """Hue turned by ``factor`` of the circle, -0.5..0.5; a grey image as it is."""
    if image.shape[1] == 1:
        return image
    red, green, blue = image.unbind(1)
    value, least = image.amax(1), image.amin(1)
    chroma = value - least
    spread = torch.where(chroma > 0, chroma, 1)
    hue = torch.where(value == green, 2 + (blue - red) / spread, 4 + (red - green) / spread)
    hue = torch.where(value == red, (green - blue) / spread, hue) + 6 * factor[:, 0]  # sixths of the circle
    # From HSV to RGB without cases: https://en.wikipedia.org/wiki/HSL_and_HSV#HSV_to_RGB_alternative
    place = (hue[:, None] + torch.arange(5, 0, -2, device=image.device).view(1, 3, 1, 1)).remainder_(6)
    return value[:, None] - chroma[:, None] * torch.minimum(place, 4 - place).clamp_(0, 1)


def affine(image: Tensor, matrix: Tensor, fill: float) -> Tensor:
    """Bilinear samples at ``matrix`` · (x, y, 1), where -1 and 1 are an image's edges; ``fill`` outside.

    Args:
        image: the batch.
        matrix: float32 [B, 2, 3], from a pixel of the result to the place in the image that it comes from.
        fill: the value of what comes in from outside.
    """
    grid = F.affine_grid(matrix, list(image.shape), align_corners=False)
    seen = F.grid_sample(image - fill, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return seen.add_(fill).clamp_(0, 1)


def _grey(image: Tensor) -> Tensor:
    """[B, C, h, w] → [B, 1, h, w]."""
    if image.shape[1] == 1:
        return image
    return image[:, :1] * GREY[0] + image[:, 1:2] * GREY[1] + image[:, 2:] * GREY[2]


def _away_from(other: Tensor, image: Tensor, factor: Tensor) -> Tensor:
    return (other + factor * (image - other)).clamp_(0, 1)
