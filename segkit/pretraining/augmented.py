"""The images of one epoch, augmented on the device."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segkit.errors import DataError
from segkit.labelled.batch_augmentation import BatchAugmentation, Step
from segkit.labelled.held import Batch as Read
from segkit.labelled.held import HeldImages
from segkit.labelled.images import LabelledImages
from segkit.pretraining.recipe import PretrainTrainRecipe

VALIDATED = 256  # images at once

"""Seed, epoch and number of a batch, by which it is drawn."""


class AugmentedImages:
    """The batches of one epoch, in an order and by draws that follow from seed and epoch alone."""

    def __init__(self, held: HeldImages, augment: BatchAugmentation, train: PretrainTrainRecipe, number: int) -> None:
        self._augment, self._seed, self._number = augment, train.seed, number
        self._batches = held.batches(
            train.batch,
            seed=train.seed,
            epoch=number,
            shuffle=True,
            drop_last=True,  # a last batch of one would break batch statistics, and has no negatives
            workers=train.workers,
        )

    def __len__(self) -> int:
        return len(self._batches)

    def images(self) -> Iterator[tuple[Step, Read, Tensor]]:
        """Each batch's step, what was read, and its images float32 [B, C, h, w] in 0..1."""
        for number, batch in enumerate(self._batches):
            step = (self._seed, self._number, number)
            yield step, batch, self._augment(batch, step)


def validation_indices(images: LabelledImages, split: str | None) -> NDArray[np.int64] | None:
    """Indices of the split that is validated on; None for none.

    Raises:
        DataError: there is no such split; where there is no ``val`` either, how to do without.
    """
    if split is None:
        return None
    try:
        return images.indices(split)
    except DataError as error:
        if "val" in images.splits:
            raise
        raise DataError(f"{error}; to train without one: data.validate_on=null train.keep=last") from None


def floats(image: Tensor) -> Tensor:
    """uint8 [B, C, h, w] → float32 in 0..1."""
    return image.contiguous(memory_format=torch.channels_last).float().div_(255)
