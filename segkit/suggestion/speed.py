"""How many crops a second a model trains on, on this machine: measured, since nothing else tells."""

import time
from collections.abc import Sequence
from statistics import median

import torch

from segkit.allocator import reused_memory
from segkit.data.dataset import SegmentationDataset
from segkit.data.folder import DatasetFolder, Sample
from segkit.data.reader import Reader
from segkit.devices import default_device
from segkit.model import Segmenter
from segkit.model_arguments import given_window
from segkit.precision import fastest
from segkit.recipe import DataRecipe, ModelRecipe
from segkit.task import Task
from segkit.training.losses import build_loss
from segkit.training.optimizer import create_optimizer
from segkit.workers import loader_workers

STEPS = 4  # timed, after one that warms up
LOOKED_AT = 8  # pictures that crops are cut of


@reused_memory()
def crops_per_second(
    model: ModelRecipe, data: DataRecipe, *, classes: Sequence[str], task: Task, background: int | None, batch: int
) -> float:
    """Training speed of a model on crops of noise: forward, loss, backward and update, as ``train`` does them.

    The median of four steps after a first one that is not counted; a few seconds for a middling model.
    """
    device = default_device()
    precision = fastest(device)
    segmenter = Segmenter.create(
        model.backbone.model_dump(),
        neck=model.neck.model_dump(),
        head=model.head.model_dump(),
        stem=model.stem,
        in_channels=data.channels,
        classes=classes,
        task=task,
        background=background,
        window=given_window(data.window),
        mean=(0.5,) * data.channels,
        std=(0.25,) * data.channels,
        auxiliary=model.auxiliary,
    )
    segmenter = segmenter.to(device).to(memory_format=torch.channels_last)
    loss = build_loss({"cross_entropy": 1.0, "dice": 1.0}, task=segmenter.task, classes=len(classes))
    optimizer = create_optimizer(segmenter, lr=1e-5, weight_decay=0.0)
    height, width = data.crop if isinstance(data.crop, tuple) else (data.crop or 256,) * 2
    image = torch.rand(batch, data.channels, height, width, device=device)
    image = image.contiguous(memory_format=torch.channels_last)
    shape = (batch, segmenter.maps, height, width) if task == "multilabel" else (batch, height, width)
    target = torch.randint(0, 2, shape, device=device)
    target = target.float() if task == "multilabel" else target

    seconds = []
    for _ in range(1 + STEPS):
        began = time.perf_counter()
        with torch.autocast(device.type, torch.bfloat16 if precision == "bf16" else torch.float16, precision != "fp32"):
            main, *auxiliary = segmenter.forward_levels(image)
            value = loss(main, target) + sum(loss(logits, target) for logits in auxiliary)
        value.backward()
        optimizer.step()
        optimizer.zero_grad()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - began)
    return batch / median(seconds[1:])


def crops_cut_per_second(
    folder: DatasetFolder, samples: Sequence[Sample], data: DataRecipe, *, held: bool, device: torch.device
) -> float:
    """How many crops a second the processes that read cut and augment: a GPU may be faster than they are.

    Args:
        folder, samples: the dataset and its pictures, of which a few are looked at.
        data: how they are read and cut.
        held: whether all pictures fit into memory, so that they are decoded before.
        device: what is trained on.
    """
    reader = Reader(channels=data.channels, window=given_window(data.window))
    chosen = list(samples)[:: -(-len(samples) // LOOKED_AT)]
    dataset = SegmentationDataset(folder, chosen, reader, crop=data.crop, augment="medium", cache=held)
    count = STEPS * len(dataset)
    began = time.perf_counter()
    for number in range(count):
        item = dataset[number // len(dataset), number % len(dataset)]
    taken = time.perf_counter() - began
    size = sum(value.nbytes for value in item.values() if isinstance(value, torch.Tensor))
    return count / taken * max(1, loader_workers("auto", device, 8 * size))
