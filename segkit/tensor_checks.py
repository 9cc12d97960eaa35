"""What models are given, held to what they take."""

from torch import Tensor


def check_images(image: object, mean: Tensor) -> None:
    """Raise ValueError unless these are images [B, C, H, W] of as many channels as there are means, and fractions."""
    channels = mean.shape[1]
    if not isinstance(image, Tensor):
        raise ValueError(f"got images as {type(image).__name__}; this model takes a tensor [B, {channels}, H, W]")
    if image.ndim != 4 or image.shape[1] != channels:
        raise ValueError(f"got images {list(image.shape)}; this model takes [B, {channels}, H, W]")
    if not image.is_floating_point():
        raise ValueError(f"got images of {image.dtype}; this model takes float in 0..1: divide uint8 by 255")


def check_depth(depth: object, image: Tensor, channels: int) -> None:
    """Raise ValueError unless this is depth of that many channels, and validity, of these images."""
    if not isinstance(depth, Tensor):
        raise ValueError(f"got depth as {type(depth).__name__}; expected a tensor [B, {channels + 1}, H, W]")
    if not channels:
        raise ValueError(f"got depth {list(depth.shape)}; this model takes images alone")
    expected = [image.shape[0], channels + 1, *image.shape[-2:]]
    if list(depth.shape) != expected:
        raise ValueError(f"got depth {list(depth.shape)} of images {list(image.shape)}; expected {expected}")
    if depth.dtype != image.dtype:
        raise ValueError(f"got depth of {depth.dtype}; expected {image.dtype}, as the image is")
