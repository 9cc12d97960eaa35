"""Augmentation of batches on their device: each image by its own draws, without a loop over images."""

from math import log

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segkit.errors import UsageError
from segkit.labelled import colour
from segkit.labelled.augmentation import Augmentation, Jitter
from segkit.labelled.grouping import Operation, in_groups
from segkit.labelled.held import Batch
from segkit.labelled.rand_augment import rand_augment
from segkit.labelled.windows import ATTEMPTS, draw_windows, moved, seen_through, whole_windows

Step = tuple[int, int, int]
"""Seed, epoch, and step of the epoch: what is drawn depends on them alone."""
AUGMENTATION = 1  # beside what is drawn for other ends in the same step
ERASED_AREA, ERASED_RATIO = (0.02, 0.33), (0.3, 3.3)


class BatchAugmentation:
    """Random crops, flips and changes of colour of a batch, as :class:`Augmentation` says.

    torchvision's transforms draw once for a whole batch. Here each image has its own draws, from the same
    distributions, on a CPU as on a GPU. Operations with a number of each image's own are computed for all images at
    once; of RandAugment and jitter, those images that drew one operation.

    Args:
        settings: what to do.
        size: (height, width) of what comes out.
        channels: of the images.

    Raises:
        UsageError: operations on colours, but images of neither one nor three channels.
    """

    def __init__(self, settings: Augmentation, size: tuple[int, int], *, channels: int = 3) -> None:
        if channels not in (1, 3) and (settings.rand_augment or settings.jitter):
            key = "rand_augment" if settings.rand_augment else "jitter"
            raise UsageError(
                f"augment.{key}: changes colours, so it takes images of 1 or 3 channels, not {channels}; set it to null"
            )
        self.settings, self.size = settings, size

    def __call__(self, batch: Batch, step: Step) -> Tensor:
        """The images of a batch, changed: float32 [B, C, h, w] in 0..1, on the batch's device.

        Args:
            batch: ``image`` uint8 [B, C, H, W] and ``extent`` int [B, 2], as :class:`HeldImages` gives them.
            step: (seed, epoch, step), on which alone it depends what is drawn.
        """
        draws = stream(step, AUGMENTATION)
        image = self._cut(batch["image"], batch["extent"].cpu().numpy(), draws)
        if (chosen := self.settings.rand_augment) is not None:
            image = rand_augment(image, chosen.operations, chosen.magnitude, draws)
        if self.settings.jitter is not None:
            image = jittered(image, self.settings.jitter, draws)
        if self.settings.erase:
            image = erased(image, self.settings.erase, draws)
        return image

    def _cut(self, image: Tensor, extent: NDArray[np.int64], draws: np.random.Generator) -> Tensor:
        """Crop and flip: uint8 [B, C, H, W] → float32 [B, C, h, w]."""
        count, crop = len(image), self.settings.crop
        mirrored = draws.random(count) < self.settings.flip
        if crop is None:
            return seen_through(image, extent, whole_windows(extent), mirrored, self.size)
        if crop.pad is None:
            windows = draw_windows(extent, crop.scale, crop.ratio, draws)
            return seen_through(image, extent, windows, mirrored, self.size)
        offsets = draws.integers(-crop.pad, crop.pad + 1, (count, 2))
        if (extent == self.size).all():  # bytes are moved faster than floats
            return moved(image, offsets, mirrored, crop.pad).float().div_(255)
        whole = seen_through(image, extent, whole_windows(extent), np.zeros(count, dtype=np.bool_), self.size)
        return moved(whole, offsets, mirrored, crop.pad)


def stream(step: Step, purpose: int) -> np.random.Generator:
    """What is drawn for one purpose in a step, the same wherever and whenever it is drawn."""
    return np.random.default_rng([*step, purpose])


def jittered(image: Tensor, jitter: Jitter, draws: np.random.Generator) -> Tensor:
    """ColorJitter with factors and an order of each image's own: float32 [B, C, h, w] in 0..1 → the same."""
    count = len(image)
    kinds: list[tuple[float, float, Operation]] = [
        (jitter.brightness, 1.0, lambda x, p: colour.adjust_brightness(x, p[:, :, None, None])),
        (jitter.contrast, 1.0, lambda x, p: colour.adjust_contrast(x, p[:, :, None, None])),
        (jitter.saturation, 1.0, lambda x, p: colour.adjust_saturation(x, p[:, :, None, None])),
        (jitter.hue, 0.0, lambda x, p: colour.adjust_hue(x, p[:, :, None, None])),
    ]
    kinds = [kind for kind in kinds if kind[0]]
    if not kinds:
        return image
    numbers = np.stack([draws.uniform(middle - most, middle + most, count) for most, middle, _ in kinds], axis=1)
    order = draws.random((count, len(kinds))).argsort(1)
    rows = np.arange(count)
    for chosen in order.T:
        image = in_groups(image, chosen, numbers[rows, chosen, None], [operation for *_, operation in kinds])
    return image


def erased(image: Tensor, share: float, draws: np.random.Generator) -> Tensor:
    """Random Erasing with noise (Zhong et al., AAAI 2020): a rectangle of some images, uniform noise in 0..1.

    Area 0.02 to 0.33 of the image, uniform; height / width 0.3 to 3.3, uniform in its logarithm; as torchvision, the
    first of ten attempts that is smaller than the image.

    Args:
        image: float32 [B, C, h, w] in 0..1.
        share: of the images that lose a rectangle.
        draws: what is drawn comes from here; the noise depends on the kind of device too.
    """
    count, (height, width) = len(image), image.shape[2:]
    area = height * width * draws.uniform(*ERASED_AREA, (count, ATTEMPTS))
    ratio = np.exp(draws.uniform(log(ERASED_RATIO[0]), log(ERASED_RATIO[1]), (count, ATTEMPTS)))
    high, wide = np.rint(np.sqrt(area * ratio)), np.rint(np.sqrt(area / ratio))
    fits = (high < height) & (wide < width)
    rows, first = np.arange(count), fits.argmax(1)
    sides = np.stack([high[rows, first], wide[rows, first]], axis=1)
    corner = np.floor(draws.random((count, 2)) * (np.array([height, width]) - sides + 1))
    chosen = np.flatnonzero((draws.random(count) < share) & fits.any(1))
    generator = torch.Generator(image.device).manual_seed(int(draws.integers(1 << 62)))
    if not len(chosen):
        return image
    packed = torch.from_numpy(np.concatenate([chosen[:, None], corner[chosen], sides[chosen]], axis=1).astype(np.int64))
    numbers, top, left, tall, broad = packed.to(image.device, non_blocking=True).view(-1, 5, 1).unbind(1)
    y, x = torch.arange(height, device=image.device), torch.arange(width, device=image.device)
    within = ((y >= top) & (y < top + tall))[:, None, :, None] & ((x >= left) & (x < left + broad))[:, None, None, :]
    noise = torch.rand(len(chosen), *image.shape[1:], generator=generator, device=image.device)
    image = image.clone()
    image[numbers[:, 0]] = torch.where(within, noise, image[numbers[:, 0]])
    return image
