"""Mixup and CutMix: images of a batch laid over one another, and their targets with them."""

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms import v2

from segkit.errors import UsageError
from segkit.labelled.batch_augmentation import Step, stream

MIXING = 2  # beside what augmentation draws of the same step


class Mixing:
    """Mix each batch by Mixup (Zhang et al., ICLR 2018) or CutMix (Yun et al., ICCV 2019), as torchvision does.

    Each image is mixed with the one before it, all in one proportion drawn from Beta(alpha, alpha).

    Args:
        classes: how many there are.
        mixup: Mixup's alpha; 0: never.
        cutmix: CutMix's alpha; 0: never. Where both are above 0, half of the mixed batches are mixed by each.
        share: of the batches that are mixed.

    Raises:
        UsageError: an alpha below 0, or a share outside 0..1.
    """

    def __init__(self, classes: int, *, mixup: float = 0.0, cutmix: float = 0.0, share: float = 1.0) -> None:
        if mixup < 0 or cutmix < 0:
            raise UsageError(f"mixup and cutmix are 0 (never) or above; found {mixup:g} and {cutmix:g}")
        if not 0 <= share <= 1:
            raise UsageError(f"share={share:g}: expected a share of the batches, 0..1")
        self.classes, self.share = classes, share
        self._ways: list[v2.Transform] = [
            kind(alpha=alpha, num_classes=classes) for kind, alpha in ((v2.MixUp, mixup), (v2.CutMix, cutmix)) if alpha
        ]

    def __call__(self, image: Tensor, target: Tensor, step: Step) -> tuple[Tensor, Tensor]:
        """Images float [B, C, h, w] and their classes int64 [B] → images, and shares float32 [B, K] of each class.

        Args:
            image, target: of the batch.
            step: (seed, epoch, step), on which alone it depends what is drawn.
        """
        draws = stream(step, MIXING)
        if not self._ways or draws.random() >= self.share:
            return image, F.one_hot(target, self.classes).float()
        way = self._ways[draws.integers(len(self._ways))]
        with torch.random.fork_rng(devices=[]):  # torchvision draws from torch's own stream, on the CPU
            torch.default_generator.manual_seed(int(draws.integers(1 << 62)))
            mixed: tuple[Tensor, Tensor] = way(image, target)
        return mixed
