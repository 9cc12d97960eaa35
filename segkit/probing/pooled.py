"""A frozen backbone as one vector an image, and those vectors of many images, computed once."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Self

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from segkit.backbones.backbone import Backbone
from segkit.errors import ModelError, UsageError
from segkit.files import atomic_path
from segkit.labelled.held import HeldImages
from segkit.precision import Precision, fastest
from segkit.prediction.computing import AUTOCAST

Progress = Callable[[int, int], None]


class PooledBackbone(nn.Module):
    """Map images float [B, C, H, W] in 0..1 to the means over one level's pixels, float32 [B, D]; nothing in it learns.

    Args:
        backbone: image → pyramid.
        mean, std: what images are normalised by, [1, C, 1, 1].
        level: which of the levels, finest first; negative ones count from the coarsest, -1.

    Raises:
        UsageError: there is no such level.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, backbone: Backbone, mean: Tensor, std: Tensor, *, level: int = -1) -> None:
        super().__init__()
        levels = len(backbone.channels)
        if not -levels <= level < levels:
            raise UsageError(f"level is {level}; this backbone has {levels}: 0..{levels - 1}, or -1 for the coarsest")
        self.backbone = backbone
        self.level = level % levels
        self.channels, self.stride = backbone.channels[self.level], backbone.strides[self.level]
        self.register_buffer("mean", mean.detach().clone())
        self.register_buffer("std", std.detach().clone())
        self.eval().requires_grad_(False)

    def train(self, mode: bool = True) -> Self:
        """Stay in eval mode whatever is asked, so that statistics and weights stay what they are."""
        del mode
        return super().train(False)

    def forward(self, image: Tensor) -> Tensor:
        """The features, float32 [B, D]."""
        level: Tensor = self.backbone((image - self.mean) / self.std)[self.level]
        return level.float().mean(dim=(2, 3))


@torch.inference_mode()
def features_of(
    pooled: PooledBackbone,
    images: HeldImages,
    *,
    batch: int = 64,
    precision: Precision | None = None,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Tensor:
    """The features of images in their order, float32 [N, D] on the images' device.

    Args:
        pooled: is moved there.
        images: held at the view that the backbone is shown.
        batch: images computed at once.
        precision: None takes the device's fastest.
        cache: a folder; features that are there of the same weights and the same pixels are taken from it, others are
            added.
        progress: called with (done, all) images.

    Raises:
        DataError: an image can't be read.
        ModelError: a damaged file in the cache.
        UsageError: the cache can't be written.
    """
    device = images.device
    precision = precision or fastest(device)
    with torch.inference_mode(False), torch.no_grad():  # else its weights could never have gradients again
        pooled.to(device)
    kept = cache / f"{_digest(pooled, images, batch, precision)}.safetensors" if cache is not None else None
    if kept is not None and kept.is_file():
        return _kept(kept).to(device)
    found = []
    for given in images.batches(batch, shuffle=False, workers="auto"):
        with torch.autocast(device.type, dtype=AUTOCAST.get(precision), enabled=precision in AUTOCAST):
            found.append(pooled(given["image"].float() / 255))
        if progress is not None:
            progress(min(len(images), len(found) * batch), len(images))
    features = torch.cat(found).clone()
    if kept is not None:
        with atomic_path(kept) as temporary:
            safetensors.torch.save_file({"features": features.cpu().contiguous()}, temporary)
    return features


def _digest(pooled: PooledBackbone, images: HeldImages, batch: int, precision: Precision) -> str:
    """Of all that the features depend on, hexadecimal; the batch can decide the last bits."""
    digest = hashlib.sha256(f"{type(pooled.backbone).__qualname__} {pooled.level} {precision} {batch}".encode())
    for name, tensor in sorted(pooled.state_dict().items()):
        digest.update(f"{name} {list(tensor.shape)}".encode())
        digest.update(_bytes(tensor))
    first = next(iter(images.batches(1, shuffle=False)))["image"]
    digest.update(_bytes(pooled(first.float() / 255)))  # options that are no tensors show in what comes out
    for given in images.batches(batch, shuffle=False):
        digest.update(str(list(given["image"].shape)).encode())
        digest.update(_bytes(given["image"]))
    return digest.hexdigest()


def _bytes(tensor: Tensor) -> bytes:
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def _kept(path: Path) -> Tensor:
    try:
        features: Tensor = safetensors.torch.load_file(path)["features"]
    except (safetensors.SafetensorError, KeyError, OSError) as error:
        raise ModelError(f"{path}: kept features that can't be read ({error}); delete the file") from None
    return features
