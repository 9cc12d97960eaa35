"""Batches of images from memory, or read by other processes where memory can't hold them all."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from segkit.cores import cores
from segkit.data.reader import Pixels
from segkit.data.resize import resized
from segkit.errors import DataError, UsageError
from segkit.labelled.images import LabelledImages
from segkit.labelled.view import View
from segkit.memory import share_of_memory
from segkit.workers import Reading, Workers, ignore_interrupts, loader_workers

CACHE_BYTES = share_of_memory(2 << 30)
FINEST = 2
"""How many times as long as the model's size an image's shorter side is kept at most: half of it, seen alone, is sharp.

So a window of any size can be brought to the model's size without a filter against aliasing.
"""
SHUFFLE = 0  # beside the streams of what is drawn in a batch

Batch = dict[str, Any]


class HeldImages:
    """Images of some indices, decoded once and held in memory as bytes, if all of them take less than 2 GiB,
    and an eighth of the machine's.

    Attributes:
        names: of the images.
        labels: int64 [n], on the CPU; -1 where there is none.
        held: whether they are held; else they are read anew for each batch.

    Args:
        images: where they are from.
        indices: which of them, into ``images``.
        channels: of each image: 3 repeats a grey one, 1 takes the luma of a coloured one.
        size: (height, width) that will be cut from them: images of which more than twice that would fit along both
            sides are held smaller, antialiased. Or a view: what it sees of each image is held.
        cache: hold them if they fit.
        device: where batches are; images of one size are held there too. None: the CPU.

    Raises:
        DataError: a file can't be used, if images are held.
        UsageError: there are no indices, or some that no image has.
    """

    def __init__(
        self,
        images: LabelledImages,
        indices: Sequence[int] | NDArray[np.int64],
        *,
        channels: int,
        size: tuple[int, int] | View,
        cache: bool = True,
        device: torch.device | str | None = None,
    ) -> None:
        self.images, self.channels, self.size = images, channels, size
        self.indices = np.asarray(indices, dtype=np.int64)
        if not len(self.indices):
            raise UsageError("no indices: which images are to be held?")
        if self.indices.min() < 0 or self.indices.max() >= len(images):
            raise UsageError(f"indices run from {self.indices.min()} to {self.indices.max()} of {len(images)} images")
        self.device = torch.device(device or "cpu")
        self.names = [images.names[index] for index in self.indices]
        self.labels = torch.from_numpy(images.labels[self.indices])
        self._pixels: Tensor | list[Tensor] | None = None
        found = self._decoded() if cache else None
        if found is not None:
            alike = len({tuple(pixels.shape) for pixels in found}) == 1
            self._pixels = found
            if alike:
                with suppress(torch.OutOfMemoryError):  # then each batch is brought there by itself
                    self._pixels = torch.stack(found).to(self.device)

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def held(self) -> bool:
        """Whether the images are in memory."""
        return self._pixels is not None

    def batches(
        self, batch: int, *, seed: int = 0, epoch: int = 0, shuffle: bool, drop_last: bool = False, workers: Workers = 0
    ) -> "Batches":
        """One pass over the images, whose order depends on (seed, epoch) alone.

        Args:
            batch: images in each.
            seed, epoch: of the order.
            shuffle: draw the order; else it is that of the indices.
            drop_last: leave out a last batch that is smaller, unless it is the only one.
            workers: processes that read images where they aren't held; 0: this one; ``auto``: as many as are worth it.
        """
        order = np.arange(len(self))
        if shuffle:
            np.random.default_rng([seed, epoch, SHUFFLE]).shuffle(order)
        chunks = [order[at : at + batch] for at in range(0, len(order), batch)]
        if drop_last and len(chunks) > 1 and len(chunks[-1]) < batch:
            chunks.pop()
        height, width = self.size.size if isinstance(self.size, View) else (FINEST * side for side in self.size)
        return Batches(self, chunks, loader_workers(workers, self.device, batch * self.channels * height * width))

    def _there(self, tensor: Tensor) -> Tensor:
        return tensor.to(self.device, non_blocking=self.device.type == "cuda")  # Apple's GPUs don't wait for the rest

    def read(self, number: int) -> Tensor:
        """The image of the ``number``-th index, uint8 [C, h, w], as it is held, read from its file."""
        image = self.images.read(int(self.indices[number]), self.channels)
        if isinstance(self.size, View):
            return _planes(self.size.pixels(image))
        zoom = max(FINEST * side / length for side, length in zip(self.size, image.shape[:2], strict=True))
        if zoom >= 1:
            return _planes(image)
        height, width = (max(1, round(zoom * length)) for length in image.shape[:2])
        return _planes(resized(image, (height, width)))

    def gather(self, numbers: NDArray[np.int64], read: tuple[Tensor, Tensor] | None = None) -> Batch:
        """The batch of some of the images: those held, or those just read, padded to one size, with their extents."""
        chosen = torch.from_numpy(numbers)
        if read is None and isinstance(self._pixels, Tensor):
            image = self._pixels.index_select(0, self._there(chosen))  # faster than [chosen]
            extent = torch.tensor(image.shape[-2:]).repeat(len(numbers), 1)
        else:
            if read is None:
                assert self._pixels is not None
                read = _padded([self._pixels[number] for number in numbers])
            image, extent = read
            if self.device.type == "cuda":
                image = image.pin_memory()
            image = self._there(image)
        return {
            "image": image,
            "extent": extent,
            "target": self._there(self.labels[chosen]),
            "name": [self.names[number] for number in numbers.tolist()],
            "index": torch.from_numpy(self.indices[numbers]),
        }

    def _decoded(self) -> list[Tensor] | None:
        """Every image, or None where they would take too much memory."""
        looked_at = range(0, len(self), -(-len(self) // 32))
        if sum(self.read(number).numel() for number in looked_at) / len(looked_at) * len(self) > CACHE_BYTES:
            return None
        found: list[Tensor] = []
        taken = 0
        with ThreadPoolExecutor(min(8, cores())) as pool:
            for part in range(0, len(self), 1024):  # in parts, so that little is read in vain where they don't fit
                found += pool.map(self.read, range(part, min(part + 1024, len(self))))
                taken += sum(pixels.numel() for pixels in found[part:])
                if taken > CACHE_BYTES:
                    return None
        return found


class Batches:
    """Batches of one pass, as dicts.

    Each has ``image`` uint8 [B, C, h, w] on the device, padded with 0 at the right and bottom where sizes differ;
    ``extent`` int64 [B, 2], the true (h, w), on the CPU; ``target`` int64 [B] on the device; ``name``, a list; and
    ``index`` int64 [B], indices into the dataset, on the CPU.

    Raises:
        DataError: on the way, where an image that isn't held can't be read.
    """

    def __init__(self, held: HeldImages, chunks: Sequence[NDArray[np.int64]], workers: int) -> None:
        self._held, self._chunks, self._workers = held, chunks, workers

    def __len__(self) -> int:
        return len(self._chunks)

    def __iter__(self) -> Iterator[Batch]:
        if self._held.held:
            for numbers in self._chunks:
                yield self._held.gather(numbers)
            return
        loader = DataLoader(
            Reading(self._held.read, len(self._held)),
            batch_sampler=[chunk.tolist() for chunk in self._chunks],
            num_workers=self._workers,
            collate_fn=_collated,
            worker_init_fn=ignore_interrupts,
            generator=torch.Generator(),  # a loader draws a number as it begins; not from what others draw from
        )
        for numbers, read in zip(self._chunks, loader, strict=True):
            if isinstance(read, DataError):
                raise read
            yield self._held.gather(numbers, read)


def _planes(pixels: Pixels) -> Tensor:
    """[H, W, C] → [C, H, W]."""
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))


def _collated(items: Sequence[Tensor | DataError]) -> tuple[Tensor, Tensor] | DataError:
    """A batch as one tensor, so that it is one file descriptor between processes; or the first error in it."""
    read = [item for item in items if isinstance(item, Tensor)]
    return _padded(read) if len(read) == len(items) else next(item for item in items if isinstance(item, DataError))


def _padded(parts: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """[C, h, w] of several sizes → [B, C, H, W] of the largest, and the size of each, [B, 2]."""
    extent = torch.tensor([part.shape[-2:] for part in parts])
    height, width = extent.amax(0).tolist()
    image = torch.zeros(len(parts), parts[0].shape[0], height, width, dtype=torch.uint8)
    for place, part in zip(image, parts, strict=True):
        place[:, : part.shape[1], : part.shape[2]] = part
    return image, extent
