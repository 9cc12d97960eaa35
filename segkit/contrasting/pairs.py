"""Batches of pictures and their depth, seen so that neither frame nor holes tell which belong together."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from segkit.contrasting.colour_depth_recipe import ColourDepthRecipe
from segkit.contrasting.dense import draw_places
from segkit.data.batches import Item, collate
from segkit.data.dataset import SegmentationDataset
from segkit.data.epoch_sampler import EpochSampler
from segkit.data.folder import DatasetFolder, Sample
from segkit.data.reader import Reader
from segkit.errors import DataError, RecipeError, UsageError
from segkit.nearest import nearest
from segkit.workers import Reading, Workers, ignore_interrupts, loader_workers

DRAWS = 1  # beside the streams of randomness of the items
RECTANGLES = 3  # of depth taken away in a picture

JITTER: list[dict[str, dict[str, Any] | None]] = [
    {"RandomBrightnessContrast": {"brightness_limit": 0.3, "contrast_limit": 0.3, "p": 0.8}},
    {"HueSaturationValue": {"hue_shift_limit": 15, "sat_shift_limit": 40, "val_shift_limit": 0, "p": 0.8}},
    {"ToGray": {"p": 0.2}},
    {"GaussianBlur": {"sigma_limit": [0.3, 1.5], "blur_limit": 0, "p": 0.2}},
    {"GaussNoise": {"std_range": [0.01, 0.05], "p": 0.2}},
]
"""What is done to colours: depth must be recognised by what is there, not by how bright the picture is."""


def pair_samples(folder: DatasetFolder, splits: Sequence[str]) -> list[Sample]:
    """Return the pictures of splits that have depth, without their masks, which nobody needs here.

    Raises:
        UsageError: an unknown split.
        DataError: fewer than two such pictures, or volumes.
    """
    found: dict[str, Sample] = {}
    for split in splits:
        if split not in folder.splits:
            raise UsageError(f"{folder.path}: no split {split!r}{nearest(split, folder.splits)}")
        for stem in folder.splits[split]:
            sample = folder.files.get(stem)
            if sample is not None and sample.volume:
                raise DataError(f"{sample.image}: a volume; colour_depth is of pictures that have depth beside them")
            if sample is not None and sample.depth is not None:
                found[stem] = replace(sample, mask=None, roi=None)
    if len(found) < 2:
        raise DataError(
            f"{folder.path}: {len(found)} pictures of {' and '.join(splits)} have a file in depth/; to tell pairs "
            "apart takes 2 or more"
        )
    return list(found.values())


def whole_size(size: tuple[int, int], options: ColourDepthRecipe) -> tuple[int, int]:
    """(height, width) that whole pictures are brought to, of which windows of ``size`` are seen."""
    return size[0] + options.shift, size[1] + options.shift


class PairBatches:
    """Batches of an epoch: each a dict of what :meth:`ColourDepth.forward` and ``loss`` take.

    ``image`` float32 [B, C, h, w], ``depth`` float32 [B, C' + 1, h, w], ``place`` int64 [N, 3], ``offset`` (rows,
    columns), ``measured`` bool [B], ``name`` list. No picture is in a batch twice. All depends on (seed, epoch) alone.

    What could give a pair away without a look at what is in it is the same for all pictures of a batch, or differs
    between the two of a pair:

    - All are mirrored or none is. Other geometry, where ``options.augment`` has any, is the same for both of a pair.
    - The frame: a batch's pictures are all seen through one window, and their depth through another one, laid apart
      from it by up to ``options.shift`` pixels. So neither the border, nor a place's distance from it (which networks
      that pad with zeros know, Islam et al., ICLR 2020), says which belong together.
    - Holes: up to ``options.holes`` of the depth is taken away, in rectangles that the picture knows nothing of.
    - Colours change (``JITTER``), depth doesn't.

    Places are where both windows show the picture and depth is measured, after all this.

    Args:
        folder: the dataset.
        samples: as ``pair_samples`` gives them.
        reader: how pictures are read.
        size: (height, width) of the windows; whole pictures are brought to this and ``options.shift`` more.
        options: the recipe's section.
        batch: pairs in a batch; the last few pictures of an epoch's order are left out where they don't fill one.
        seed: of all randomness.
        workers: processes that prepare items; ``auto``: as many as are worth it.
        device: where batches go.
        cache: keep decoded pictures in memory.

    Raises:
        RecipeError: a mistake in ``options.augment``.
        DataError: a file can't be used.
    """

    def __init__(
        self,
        folder: DatasetFolder,
        samples: Sequence[Sample],
        reader: Reader,
        *,
        size: tuple[int, int],
        options: ColourDepthRecipe,
        batch: int,
        seed: int,
        workers: Workers = 0,
        device: torch.device | None = None,
        cache: bool = True,
    ) -> None:
        self.size, self.options, self.seed = size, options, seed
        self.device = device or torch.device("cpu")
        augment = options.augment
        whole = whole_size(size, options)
        if augment is None:
            augment = JITTER if reader.channels == 3 else [JITTER[0], *JITTER[3:]]
        try:
            self.dataset = SegmentationDataset(
                folder,
                samples,
                reader,
                crop=None,
                size=whole,
                augment=augment,
                seed=seed,
                cache=cache,
                depth=True,
            )
        except RecipeError as error:
            raise RecipeError(str(error).replace("data.augment", "colour_depth.augment")) from None
        self.sampler = EpochSampler(len(self.dataset), seed=seed)
        # Its processes end with each epoch: they answer no signal, so Python would wait for them as it ends.
        self.loader: DataLoader[Item | DataError] = DataLoader(
            Reading(self.dataset.__getitem__, len(self.dataset)),
            batch_size=min(batch, len(self.dataset)),
            sampler=self.sampler,
            num_workers=loader_workers(workers, self.device, batch * (reader.inputs + 1) * 4 * prod(whole)),
            worker_init_fn=ignore_interrupts,
            collate_fn=_collated,
            drop_last=True,
            pin_memory=self.device.type == "cuda",
            generator=torch.Generator(),  # a loader draws a number each time it begins; not from torch's own
        )

    def set_epoch(self, epoch: int) -> None:
        """Make the next iteration that of an epoch."""
        self.sampler.set_epoch(epoch)

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        epoch = self.sampler.epoch
        for step, batch in enumerate(self.loader):
            if isinstance(batch, DataError):
                raise batch
            yield self._seen(batch, np.random.default_rng([self.seed, epoch, step, DRAWS]))

    def _seen(self, batch: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        """A batch of whole pictures through its windows."""
        image, depth = batch["image"], batch["depth"]
        shift = self.options.shift
        if image.shape[2:] != whole_size(self.size, self.options):
            raise RecipeError("colour_depth.augment: a transform changes the pictures' size; leave it to data.size")
        for way, axis in (("left_right", 3), ("up_down", 2)):
            if way in self.options.flip and rng.random() < 0.5:
                image, depth = image.flip(axis), depth.flip(axis)
        (top, left), (low, right) = rng.integers(0, shift + 1, size=(2, 2)).tolist()  # corners of both windows
        height, width = self.size
        image = image[..., top : top + height, left : left + width]
        depth = depth[..., low : low + height, right : right + width].clone()
        for each in depth:
            self._take_away(each, rng)
        offset = low - top, right - left
        valid = depth[:, -1] > 0.5
        seen = torch.zeros(self.size, dtype=torch.bool)  # of depth's window, what the picture's shows too
        seen[_shared(offset[0], height), _shared(offset[1], width)] = True
        found = {
            "image": image.contiguous(memory_format=torch.channels_last),
            "depth": depth.contiguous(memory_format=torch.channels_last),
            "place": draw_places(valid & seen, self.options.points if self.options.dense else 0, rng),
            "measured": valid.flatten(1).any(1),
        }
        on_device = {name: tensor.to(self.device, non_blocking=True) for name, tensor in found.items()}
        return {**on_device, "offset": offset, "name": batch["name"]}

    def _take_away(self, depth: Tensor, rng: np.random.Generator) -> None:
        """Make rectangles of depth [C + 1, h, w] holes, in place; all of them together at most ``options.holes``."""
        height, width = depth.shape[1:]
        for _ in range(RECTANGLES):
            area = rng.uniform(0, self.options.holes / RECTANGLES)
            ratio = np.exp(rng.uniform(-1, 1))  # height over width, both as shares of the window's
            tall, wide = (int(side * min(1.0, np.sqrt(area * r))) for side, r in ((height, ratio), (width, 1 / ratio)))
            row, column = (int(rng.integers(0, side - part + 1)) for side, part in ((height, tall), (width, wide)))
            depth[:, row : row + tall, column : column + wide] = 0


def _collated(items: Sequence[Item | DataError]) -> Item | DataError:
    """The batch, or the error of the first item that has one."""
    read = []
    for item in items:
        if isinstance(item, DataError):
            return item
        read.append(item)
    try:
        return collate(read)
    except DataError as error:
        return error


def _shared(offset: int, side: int) -> slice:
    """Of a window, what lies in another one too, which begins so much before this one."""
    return slice(max(0, -offset), min(side, side - offset))
