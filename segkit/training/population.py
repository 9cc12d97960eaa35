"""BatchNorm's means and variances for the weights that are kept, from pictures as they are predicted."""

from collections.abc import Iterable, Iterator
from itertools import chain, count, islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from segkit.data.batches import collate, joined
from segkit.data.dataset import SegmentationDataset
from segkit.data.epoch_sampler import EpochSampler

BATCH, BATCHES = 32, 8
PIXELS = 1 << 21  # that a batch has at most: 32 crops of 256²
SHARE = 10  # of all crops trained on, one in so many is looked at once more at most


def learning_norms(model: nn.Module) -> list[_BatchNorm]:
    """Every BatchNorm with running statistics that isn't frozen."""
    norms = (module for module in model.modules() if isinstance(module, _BatchNorm) and module.track_running_stats)
    return [norm for norm in norms if all(parameter.requires_grad for parameter in norm.parameters())]


@torch.no_grad()
def measure_norms(model: nn.Module, batches: Iterable[Tensor]) -> None:
    """Set the running means and variances of all ``learning_norms`` to their averages over ``batches``.

    Those left by training are of small batches of augmented crops, while the weights moved. PreciseBN (Wu and Johnson,
    Rethinking "Batch" in BatchNorm, 2021), by batches that are larger than those of training: where
    pictures differ much among themselves, a small batch is narrower than all of them together.

    Args:
        model: on its device; its modes are afterwards as they were.
        batches: images float32 [B, C, H, W] in 0..1, with their second modality behind where the model takes one. A
            norm that none of them reaches, as where no picture has depth, stays as it is.
    """
    norms = learning_norms(model)
    device = next(model.parameters()).device
    modes = {module: module.training for module in model.modules()}
    momenta = [norm.momentum for norm in norms]
    before = [{name: buffer.clone() for name, buffer in norm.named_buffers()} for norm in norms]
    model.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.train()
        norm.momentum = None  # the plain average of all batches
    try:
        # A second head isn't part of a plain call.
        ask: Any = getattr(model, "statistics", model) if getattr(model, "spread", None) is not None else model
        for images in batches:
            ask(images.to(device, memory_format=torch.channels_last))
    finally:
        for norm, momentum, buffers in zip(norms, momenta, before, strict=True):
            norm.momentum = momentum
            if not norm.num_batches_tracked:
                norm.load_state_dict(buffers, strict=False)
        for module, mode in modes.items():
            module.training = mode


def plain_batches(dataset: SegmentationDataset, batch: int, epochs: int) -> Iterator[Tensor]:
    """Crops without augmentation, for :func:`measure_norms`; the same for the same dataset and epochs.

    Args:
        dataset: what was trained on.
        batch: crops of a training step; here they are more, where their size allows.
        epochs: of training; the crops are those of the epochs that would have followed.
    """
    plain = dataset.without_augmentation()
    size = plain.crop or plain.size
    if size is not None:
        batch = max(batch, min(BATCH, PIXELS // (size[0] * size[1])))
    batches = min(max(epochs * len(plain) // (SHARE * batch), 1), BATCHES)
    sampler = EpochSampler(len(plain), seed=plain.seed)

    def keys(epoch: int) -> Iterator[tuple[int, int]]:
        sampler.set_epoch(epoch)
        return iter(sampler)

    crops = (plain[key] for key in chain.from_iterable(keys(epoch) for epoch in count(epochs)))
    for _ in range(batches):
        yield joined(collate(list(islice(crops, batch))))
