"""Training crops and evaluation pictures as tensors; a crop depends on (seed, epoch, index) alone."""

import copy
import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, get_worker_info

from segkit.cores import cores
from segkit.data.batches import Item
from segkit.data.cut import cut
from segkit.data.depth import Depth, resized_depth
from segkit.data.folder import DatasetFolder, Sample
from segkit.data.masks import IGNORE, Ids
from segkit.data.pixel_map import PixelMap, follow, pixel_map, zoom_of
from segkit.data.reader import Pixels, Reader
from segkit.data.resize import resized, resized_ids
from segkit.data.slices import Plane
from segkit.data.transforms import Spec, build_augmentation, window_size
from segkit.errors import DataError
from segkit.memory import share_of_memory

CACHE_BYTES = share_of_memory(2 << 30)
SENT = 256 << 20  # bytes of decoded pictures that a process is given that is no fork of this one
FOREGROUND = 1  # beside an item's own stream of randomness

Parts = tuple[NDArray[Any], ...]
"""A picture and its mask; depth too, where it has any and it is asked for."""
Decoded = dict[tuple[Any, ...], Parts]
"""Pictures with their masks, and depth apart from them, by what they depend on."""


class SegmentationDataset(Dataset[Item]):
    """Random crops of a dataset's pictures with their masks.

    ``dataset[epoch, index]`` is a dict of ``image`` float32 [C, h, w] in 0..1, ``target`` int64 [h, w] with 255 =
    ignore (multilabel: float32 [K, h, w] of 0, 1 or 255), and ``name``. The same (seed, epoch, index) gives the same
    item, whatever was asked before and in whatever process. A picture without a mask is ignored everywhere.

    Of a volume all slices of the reader's planes are pictures; ``foreground`` is then also the share of the items whose
    slice, where it has none, gives way to another one of the volume and plane that has foreground.

    With depth, items have ``depth`` too, float32 [C + 1, h, w] as ``DatasetFolder.read_depth`` gives it. It moves with
    the mask, is not measured outside the picture, and where the picture is zoomed by s, metres are divided by s. The
    pictures are the same as without it.

    Attributes:
        beside: what lies beside each picture and moves with its mask, uint8 [H, W, E], 0..254 for 0..1; None for
            nothing. Items then have ``beside``, uint8 [E, h, w], with 255 outside the picture.

    Args:
        folder: the dataset.
        samples: the pictures to take crops from.
        reader: how the model wants its pictures.
        crop: side or (height, width); what hangs over a smaller picture is its reflection, ignored in the target.
            None: whole pictures.
        size: (height, width) that whole pictures are brought to; not with ``crop``.
        crops_per_image: items a picture gives in an epoch.
        foreground: share of the crops laid around a pixel of a class that is not background, each such class of the
            picture being equally likely.
        augment: a name or a list for ``build_augmentation``.
        inside_roi: ignore what lies outside the regions of interest.
        seed: of all randomness.
        cache: keep the decoded pictures in memory if all of them take less than 2 GiB, and an eighth of
                the machine's; they are then read, and
            their faults found, at once.
        decoded: pictures in the memory of other datasets, taken from there; those read here are put there.
        depth: items have depth; zeros where a picture has none.
        depth_dropout: share of the items whose depth is taken away, so that a model learns to do without.

    Raises:
        DataError: a file can't be used, if ``cache``; or ``depth`` is asked for and no picture has any.
        RecipeError: a mistake in ``augment``.
    """

    def __init__(
        self,
        folder: DatasetFolder,
        samples: Sequence[Sample],
        reader: Reader,
        *,
        crop: int | tuple[int, int] | None,
        size: tuple[int, int] | None = None,
        crops_per_image: int = 1,
        foreground: float = 0.0,
        augment: str | Sequence[Spec] = "none",
        inside_roi: bool = True,
        seed: int = 0,
        cache: bool = True,
        decoded: Decoded | None = None,
        depth: bool = False,
        depth_dropout: float = 0.0,
    ) -> None:
        self.folder = folder
        self.samples = folder.slices(samples, reader)
        self.reader = reader
        self.crop = (crop, crop) if isinstance(crop, int) else crop
        self.size = size
        self.crops_per_image = crops_per_image
        self.foreground = foreground
        self.inside_roi = inside_roi
        self.seed = seed
        self.depth = depth
        self.depth_dropout = depth_dropout
        self._of_volumes = any(sample.volume for sample in self.samples)
        self.augmentation = build_augmentation(augment, crop=self.crop, size=size, channels=self._coloured, depth=depth)
        self.window = window_size(augment, self.crop) if self.crop else None
        self.beside: Sequence[NDArray[np.uint8]] | None = None
        self.depth_channels = folder.depth_channels if depth else 0
        if depth and self.samples and not any(sample.depth for sample in self.samples):
            raise DataError(f"{folder.path}: none of the {len(self.samples)} pictures asked for has a file in depth/")
        self._cache: list[Parts] | None = None
        if cache and self.samples and not self._of_volumes:  # whose slices are cut as they are needed
            self._cache = self._read_all({} if decoded is None else decoded)

    def __getstate__(self) -> dict[str, Any]:
        """For a process that isn't a fork: of many pictures none, it reads what it needs."""
        few = sum(array.nbytes for parts in self._cache or () for array in parts) <= SENT
        return {**self.__dict__, "_cache": self._cache if few else None}

    def __len__(self) -> int:
        return len(self.samples) * self.crops_per_image

    def __getitem__(self, key: tuple[int, int]) -> Item:
        epoch, index = key
        if get_worker_info() is not None:
            cv2.setNumThreads(0)  # the workers are the parallelism
        number = index // self.crops_per_image
        if self._of_volumes and self.foreground:
            number = self._with_foreground(number, np.random.default_rng([self.seed, epoch, index, FOREGROUND]))
        image, mask, *depths = self._cache[number] if self._cache is not None else self._read(number)
        layers = {"mask": mask}
        if self.beside is not None:
            beside = np.asarray(self.beside[number])  # perhaps a file's, not to be written to
            size = self.size or mask.shape[:2]  # of a volume's slice that was brought to another spacing
            layers["beside"] = beside if beside.shape[:2] == size else resized_ids(beside.copy(), size)
        rng = np.random.default_rng([self.seed, epoch, index])
        # Drawn from a stream beside the item's own, whose other draws are then the same with depth and without.
        dropped = bool(self.depth_dropout) and rng.spawn(1)[0].random() < self.depth_dropout
        whole, corner, size = mask.shape[:2], (0, 0), mask.shape[:2]
        if self.crop is not None and self.window is not None:
            origin = self._origin(mask, rng)
            overlap = [(window - side) // 2 for window, side in zip(self.window, self.crop, strict=True)]
            corner, size = (origin[0] - overlap[0], origin[1] - overlap[1]), self.window
            image, layers = cut(image, layers, corner, size)
        if depths and not dropped:
            layers |= pixel_map(corner, size, whole)
        # One stream for all transforms: seeding each of them would give all the same draws, so that for example a
        # picture would be flipped both ways or not at all.
        self.augmentation.set_random_state(rng, random.Random(int(rng.integers(1 << 62))))
        done = self.augmentation(image=image, **layers)
        item = {
            "image": _image_tensor(done["image"]),
            "target": _target_tensor(done["mask"]),
            "name": self.samples[number].name,
        }
        if "beside" in done:
            height, width = done["mask"].shape[:2]
            beside = done["beside"].reshape(height, width, -1)  # albumentations may drop an axis of length 1
            item["beside"] = torch.from_numpy(np.ascontiguousarray(beside.transpose(2, 0, 1)))
        if self.depth:
            moved = self._moved(depths[0], done) if "rows" in layers else None
            absent = self.depth_channels + 1, *done["mask"].shape[:2]
            item["depth"] = torch.zeros(absent) if moved is None else _depth_tensor(moved)
        return item

    def without_augmentation(self) -> "SegmentationDataset":
        """The same pictures, cut anywhere or brought to the same size, and nothing else done to them."""
        plain = copy.copy(self)
        plain._cache = self._cache
        plain.foreground, plain.beside, plain.depth_dropout = 0.0, None, 0.0
        plain.augmentation = build_augmentation("none", crop=self.crop, channels=self._coloured)
        plain.window = self.crop
        return plain

    def _with_foreground(self, number: int, rng: np.random.Generator) -> int:
        """The number of a slice, or of another one of its volume and plane that has foreground, if it has none."""
        sample = self.samples[number]
        candidates = self._slices_with_foreground.get((sample.case, sample.plane), [])
        if not candidates or number in candidates or rng.random() >= self.foreground:
            return number
        return int(candidates[rng.integers(len(candidates))])

    @property
    def decoded(self) -> bool:
        """Whether its pictures lie decoded in memory."""
        return self._cache is not None

    @cached_property
    def _slices_with_foreground(self) -> dict[tuple[str, Plane | None], list[int]]:
        found: dict[tuple[str, Plane | None], list[int]] = {}
        for number, sample in enumerate(self.samples):
            if sample.plane is None or sample.mask is None:
                continue
            ids = self.folder.read_mask(sample, inside_roi=self.inside_roi)
            kept = (ids == 1) if ids.ndim == 3 else (ids != IGNORE) & (ids != (self.folder.background or 0))
            if kept.any():
                found.setdefault((sample.case, sample.plane), []).append(number)
        return found

    @property
    def _coloured(self) -> int:
        """Channels of a picture; 1 of slices, whose channels are no colours."""
        return 1 if self._of_volumes else self.reader.channels

    def _origin(self, mask: Ids, rng: np.random.Generator) -> tuple[int, int]:
        """Top left corner of the crop; it lies in the picture, or around it along a side that is shorter."""
        assert self.crop is not None
        centre = self._foreground_pixel(mask, rng) if rng.random() < self.foreground else None
        corner = []
        for axis in (0, 1):
            side, crop = mask.shape[axis], self.crop[axis]
            low, high = min(0, side - crop), max(0, side - crop)
            if centre is None:
                corner.append(int(rng.integers(low, high + 1)))
            else:  # the pixel comes to lie anywhere in the middle half of the crop
                inset = crop // 4
                corner.append(int(np.clip(centre[axis] - rng.integers(inset, crop - inset), low, high)))
        return corner[0], corner[1]

    def _foreground_pixel(self, mask: Ids, rng: np.random.Generator) -> tuple[int, int] | None:
        if mask.ndim == 3:  # [H, W, K]
            present = [k for k in range(mask.shape[2]) if (mask[..., k] == 1).any()]
        else:
            counts = np.bincount(mask.ravel(), minlength=256)
            present = [int(k) for k in np.flatnonzero(counts) if k not in (self.folder.background, IGNORE)]
        if not present:
            return None
        chosen = present[rng.integers(len(present))]
        inside = mask[..., chosen] == 1 if mask.ndim == 3 else mask == chosen
        pixels = np.flatnonzero(inside)
        row, column = divmod(int(pixels[rng.integers(len(pixels))]), mask.shape[1])
        return row, column

    def _moved(self, depth: Depth, pixels: PixelMap) -> Depth:
        """Depth [h, w, C + 1] of what came out of the augmentation."""
        moved = follow(depth, pixels)
        if self._metric and (zoom := zoom_of(pixels)) != 1:
            moved[..., :-1] /= zoom
        return moved

    @property
    def _metric(self) -> bool:
        return self.folder.depth_format is not None and self.folder.depth_format.metric

    def _read(self, number: int) -> Parts:
        """A picture [H, W, C], its mask [H, W] or [H, W, K] as augmentation takes them; depth [H, W, C + 1], if any."""
        sample = self.samples[number]
        image, mask = _read_pair(self.folder, sample, self.reader, self.inside_roi)
        with_depth = self.depth and sample.depth is not None
        depths = [self.folder.read_depth(sample, image.shape[:2])] if with_depth else []
        bytes_ = image.dtype == np.uint8
        if not sample.volume and (not bytes_ or self.reader.window is not None):
            image = _scaled(image, sample, self.reader)
        if bytes_ and self.reader.window is not None:
            image = np.rint(image * 255).astype(np.uint8)  # no finer than it came; augmentation is faster on bytes
        mask = mask if mask.ndim == 2 else np.ascontiguousarray(mask.transpose(1, 2, 0))
        if self.size is None:
            return image, mask, *depths
        depths = [resized_depth(depth, self.size, metric=self._metric) for depth in depths]
        return resized(image, self.size), resized_ids(mask, self.size), *depths

    def _read_all(self, decoded: Decoded) -> list[Parts] | None:
        """Every picture, or None where they would take too much memory."""

        def parts_of(number: int) -> Parts:
            sample = self.samples[number]
            read = (self.reader.channels, self.reader.window, self.reader.mpp)
            pair = (sample, *read, self.size, self.inside_roi)
            depth = ("depth", sample, self.size)
            if pair not in decoded or (self.depth and depth not in decoded):
                parts = self._read(number)
                decoded.setdefault(pair, parts[:2])
                if self.depth:
                    decoded[depth] = parts[2:]
            return decoded[pair] + (decoded[depth] if self.depth else ())

        found, taken = [], 0
        with ThreadPoolExecutor(min(8, cores())) as pool:
            for parts in pool.map(parts_of, range(len(self.samples))):
                taken += sum(array.nbytes for array in parts)
                if taken > CACHE_BYTES:
                    pool.shutdown(cancel_futures=True)  # the rest would be read before leaving
                    decoded.clear()
                    return None
                found.append(parts)
        return found


class EvaluationDataset(Dataset[Item]):
    """Whole pictures in order: ``dataset[index]`` is a dict like a training item, of the picture's own size.

    Of a volume the slices of the model's first plane are pictures, each named like the volume.

    With ``depth``, items have it too, zeros where a picture has none.
    """

    def __init__(
        self, folder: DatasetFolder, samples: Sequence[Sample], reader: Reader, *, depth: bool = False
    ) -> None:
        self.folder = folder
        self.samples = folder.slices(samples, reader.in_one_plane)
        self.reader = reader
        self.depth = depth

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Item:
        sample = self.samples[index]
        image, mask = _read_pair(self.folder, sample, self.reader)
        target = torch.from_numpy(mask)
        item = {
            "image": _image_tensor(image if sample.volume else _scaled(image, sample, self.reader)),
            "target": target.float() if mask.ndim == 3 else target.long(),
            "name": sample.whole.name,
        }
        if self.depth:
            item["depth"] = _depth_tensor(self.folder.read_depth(sample, image.shape[:2]))
        return item


def _read_pair(
    folder: DatasetFolder, sample: Sample, reader: Reader, inside_roi: bool = True
) -> tuple[Pixels, NDArray[np.uint8]]:
    """A picture [H, W, C], unscaled, and its mask [H, W] or [K, H, W]."""
    if sample.volume:
        image: Pixels = folder.cases.picture(sample, reader)
        return image, _mask_of(folder, sample, image, inside_roi)
    try:
        image = reader.channels_of(reader.pixels_of(sample.image))
    except DataError:
        raise
    except ValueError as error:
        raise DataError(f"{sample.image}: {error}") from error
    return image, _mask_of(folder, sample, image, inside_roi)


def _mask_of(folder: DatasetFolder, sample: Sample, image: Pixels, inside_roi: bool) -> NDArray[np.uint8]:
    if sample.mask is None:  # an unlabelled picture; samples of a split all have one
        shape = (len(folder.classes), *image.shape[:2]) if folder.task == "multilabel" else image.shape[:2]
        return np.full(shape, IGNORE, np.uint8)
    return folder.read_mask(sample, image.shape[:2], inside_roi=inside_roi)


def _scaled(image: Pixels, sample: Sample, reader: Reader) -> NDArray[np.float32]:
    try:
        return reader.scale(image)
    except ValueError as error:
        raise DataError(f"{sample.image}: {error}") from error


def _image_tensor(image: Pixels) -> Tensor:
    """[H, W, C], already scaled to 0..1 (float32) or 0..255 (uint8) → float32 [C, H, W] in 0..1."""
    planes = np.ascontiguousarray(image.transpose(2, 0, 1))
    # Scaled floats can leave 0..1 a little where a transform interpolates or adds.
    if planes.dtype == np.uint8:
        return torch.from_numpy(np.divide(planes, 255, dtype=np.float32))
    return torch.from_numpy(np.clip(planes, 0, 1))


def _depth_tensor(depth: Depth) -> Tensor:
    """[H, W, C + 1] → [C + 1, H, W]."""
    return torch.from_numpy(np.ascontiguousarray(depth.transpose(2, 0, 1)))


def _target_tensor(mask: Ids) -> Tensor:
    """[H, W] → int64 [H, W]; [H, W, K] → float32 [K, H, W]."""
    if mask.ndim == 2:
        return torch.from_numpy(np.ascontiguousarray(mask)).long()
    return torch.from_numpy(np.ascontiguousarray(mask.transpose(2, 0, 1))).float()
