"""Common corruptions of pictures, each at five strengths."""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.float32]

STRENGTHS: dict[str, tuple[float, ...]] = {
    "noise": (0.02, 0.05, 0.1, 0.15, 0.2),
    "blur": (0.5, 1.0, 2.0, 3.0, 4.0),
    "contrast": (0.8, 0.6, 0.4, 0.3, 0.2),
    "jpeg": (80.0, 50.0, 30.0, 15.0, 7.0),
}
"""From weak to strong: deviation of the noise in 0..1, deviation of the blur in pixels, what is left of the contrast,
and the quality of the JPEG."""


def corrupted(image: Picture, kind: str, strength: float, seed: int) -> Picture:
    """A picture [H, W, C] in 0..1, corrupted; of the kinds of Hendrycks and Dietterich (ICLR 2019).

    Args:
        image: as the model sees it.
        kind: noise (Gaussian), blur (Gaussian), contrast (toward each channel's mean), or jpeg (of 8 bits; three
            channels as colour, any other number one by one).
        strength: what it means is said at ``STRENGTHS``.
        seed: of the noise.
    """
    return _KINDS[kind](image, strength, seed)


def _noise(image: Picture, strength: float, seed: int) -> Picture:
    noise = np.random.default_rng(seed).standard_normal(image.shape, np.float32)
    found: Picture = (image + np.float32(strength) * noise).clip(0, 1).astype(np.float32)
    return found


def _blur(image: Picture, strength: float, _seed: int) -> Picture:
    found = np.asarray(cv2.GaussianBlur(image, (0, 0), strength, borderType=cv2.BORDER_REFLECT), np.float32)
    return found.reshape(image.shape)  # OpenCV drops an axis of length 1


def _contrast(image: Picture, strength: float, _seed: int) -> Picture:
    mean = image.mean((0, 1), keepdims=True)
    found: Picture = (mean + np.float32(strength) * (image - mean)).astype(np.float32)
    return found


def _jpeg(image: Picture, strength: float, _seed: int) -> Picture:
    pixels = np.rint(image * 255).astype(np.uint8)
    if pixels.shape[2] == 3:
        found = _through_jpeg(np.ascontiguousarray(pixels[..., ::-1]), strength)[..., ::-1]
    else:
        found = np.stack([_through_jpeg(np.ascontiguousarray(c), strength) for c in np.moveaxis(pixels, 2, 0)], axis=2)
    return np.divide(found, 255, dtype=np.float32)


def _through_jpeg(pixels: NDArray[np.uint8], quality: float) -> NDArray[np.uint8]:
    _, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, int(quality)])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_UNCHANGED), np.uint8)


_KINDS: dict[str, Callable[[Picture, float, int], Picture]] = {
    "noise": _noise,
    "blur": _blur,
    "contrast": _contrast,
    "jpeg": _jpeg,
}
