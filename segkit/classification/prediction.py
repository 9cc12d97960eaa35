"""What a classifier says of images: any number, of any size, in batches."""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, get_args, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segkit.backbones.linear import has_onednn
from segkit.data.claims import LIMIT
from segkit.data.picture import open_picture
from segkit.data.reader import Pixels
from segkit.devices import device_for, named_device
from segkit.errors import DataError, ModelError, UsageError
from segkit.folding import PROBE
from segkit.labelled.images import LabelledImages
from segkit.labelled.view import View
from segkit.precision import whole_float32
from segkit.prediction.ahead import in_order
from segkit.prediction.at_once import AtOnce
from segkit.prediction.computing import AUTOCAST, computed_precision
from segkit.prediction.evaluating import evaluating
from segkit.prediction.opening import as_pixels
from segkit.prediction.prepared import prepared
from segkit.progress import Progress
from segkit.sections import Precision

BEST = 5
LARGEST_BATCH = 256
PIXELS = {"cuda": 1 << 24, "cpu": 1 << 21}
"""Pixels of a batch: a GPU is busy with that many, a CPU's caches hold no more."""
READERS = 4  # threads that decode

Bytes = NDArray[np.uint8]


@runtime_checkable
class LabelsImages(Protocol):
    """What is asked of a model that gives a whole image one label; it is an ``nn.Module``."""

    classes: tuple[str, ...]
    view: View | None
    channels: int
    about: dict[str, Any]

    def probabilities(self, image: Tensor) -> Tensor:
        """Float32 [B, K] of images float32 [B, C, H, W] in 0..1."""
        ...


@dataclass(frozen=True)
class ImageLabel:
    """What is said of one image.

    Attributes:
        name: its file as it was named, or its number among the arrays.
        classes: the classes' names.
        probabilities: float32 [K], of the classes; None where there is an error.
        error: why nothing is said, in one line; None where something is.
    """

    name: str
    classes: tuple[str, ...]
    probabilities: NDArray[np.float32] | None
    error: str | None = None

    @property
    def label(self) -> str | None:
        """The most probable class."""
        return None if self.probabilities is None else self.classes[int(self.probabilities.argmax())]

    @property
    def probability(self) -> float | None:
        """Of the most probable class."""
        return None if self.probabilities is None else float(self.probabilities.max())

    def best(self, count: int = BEST) -> list[tuple[str, float]]:
        """The most probable classes with their probabilities, the most probable first."""
        if self.probabilities is None:
            return []
        order = np.argsort(-self.probabilities, kind="stable")[:count]
        return [(self.classes[i], float(self.probabilities[i])) for i in order]


def classify(
    model: LabelsImages,
    images: Iterable[str | Path | Pixels],
    *,
    precision: Precision = "auto",
    batch: int | None = None,
    device: str | torch.device | None = None,
    limit: int = LIMIT,
    progress: Progress | None = None,
) -> list[ImageLabel]:
    """Give each image its label; one that can't be read has an error in its place.

    Args:
        model: a ``Classifier``, a ``ClassifierEnsemble`` or a ``JointClassifier``.
        images: paths of pictures (PNG, JPEG, TIFF, BMP, WebP), or arrays [H, W] or [H, W, C]: uint8, uint16, or float
            in 0..1. Each is brought to the model's view; grey becomes colour where the model wants that.
        precision: ``auto`` is bf16 where the processor or GPU computes it natively, and fp32 otherwise; ``fp32`` gives
            what the model says to the last digits.
        batch: images computed at once; None: by their size. It is halved where the GPU's memory doesn't hold them.
        device: where it is computed; by default where the model is, or the first GPU where the model is on the CPU.
        limit: bytes that a picture's file and pixels may take.
        progress: called after each image with the number done, the number of all, and its name.

    Raises:
        UsageError: an argument out of its range, or out of GPU memory with one image.
        ModelError: the model gives values that are not finite.
    """
    labeller = Labeller(model, precision=precision, batch=batch, device=device)
    if isinstance(images, str | Path) or (isinstance(images, np.ndarray) and images.ndim < 4):
        what = f"an array {list(images.shape)}" if isinstance(images, np.ndarray) else repr(str(images))
        raise UsageError(f"images is {what}; expected a list of images: [image]")
    given = list(images)
    source = _Given(given, limit)
    names = [source.place(index) for index in range(len(given))]
    labels = np.full(len(given), -1, np.int64)
    opened = LabelledImages(Path(), "", model.classes, names, labels, {}, (), source)
    said = labeller.of(opened, range(len(given)))
    found: list[ImageLabel] = []
    for name, each in zip(names, said, strict=True):
        if isinstance(each, DataError):
            found.append(ImageLabel(name, model.classes, None, str(each)))
        else:
            found.append(ImageLabel(name, model.classes, each))
        if progress is not None:
            progress(len(found), len(given), name)
    return found


class Labeller:
    """A model made ready to label images.

    Args:
        model: it is moved to the device and else left as it is.
        precision, batch, device: as for :func:`classify`.

    Attributes:
        device, precision: where and in what it computes.

    Raises:
        UsageError: an argument out of its range.
    """

    def __init__(
        self,
        model: LabelsImages,
        *,
        precision: Precision = "auto",
        batch: int | None = None,
        device: str | torch.device | None = None,
    ) -> None:
        if precision not in get_args(Precision):
            raise UsageError(f"precision={precision!r}: expected one of {', '.join(get_args(Precision))}")
        if batch is not None and (type(batch) is not int or batch < 1):
            raise UsageError(f"batch={batch!r}: expected a number of images, 1 or more")
        if not isinstance(model, torch.nn.Module) or not isinstance(model, LabelsImages):
            raise ModelError(f"{type(model).__name__}: no classifier, which gives whole images labels")
        self.device = named_device(device) if device is not None else device_for(model)
        self.precision: Precision = computed_precision(precision, self.device)
        self.model: LabelsImages = model
        self._network: torch.nn.Module = model
        self._batch = batch
        self._low = AUTOCAST.get(self.precision)
        # Convolutions on channels_last data run about twice as fast on CPUs and on tensor cores.
        model.to(self.device).to(memory_format=torch.channels_last)
        probe = torch.zeros(1, model.channels, PROBE, PROBE, device=self.device)
        self._ready: LabelsImages = prepared(
            model, lambda ready: ready.probabilities(probe), self._low, packs=has_onednn(self.device)
        )

    def of(self, images: LabelledImages, indices: Sequence[int]) -> Iterator[NDArray[np.float32] | DataError]:
        """Probabilities float32 [K] of each image, in order; in the place of one that can't be read, the error.

        Raises:
            ModelError: the model gives values that are not finite.
            UsageError: out of GPU memory with one image.
        """

        def seen(index: int) -> Bytes | DataError:
            try:
                pixels = images.read(int(index), self.model.channels)
            except DataError as error:
                return error
            return pixels if self.model.view is None else self.model.view.pixels(pixels)

        ahead = 2 * READERS if self.model.view is None else LARGEST_BATCH  # whole pictures are large
        waiting: list[Bytes | DataError] = []
        shape, count = None, 0  # of the images that wait
        with (
            ThreadPoolExecutor(READERS, thread_name_prefix="reading") as threads,
            closing(in_order(threads, seen, indices, waiting=ahead)) as read,
        ):
            for each in read:
                if not isinstance(each, DataError):
                    if count and (each.shape != shape or count >= self._at_once(each.shape)):
                        yield from self._said(waiting)
                        waiting, count = [], 0
                    shape, count = each.shape, count + 1
                waiting.append(each)
            yield from self._said(waiting)

    def _at_once(self, shape: tuple[int, ...]) -> int:
        """How many images [H, W, C] make a batch."""
        fits = PIXELS["cpu" if self.device.type == "cpu" else "cuda"] // (shape[0] * shape[1])
        return self._batch or min(max(fits, 1), LARGEST_BATCH)

    def _said(self, waiting: Sequence[Bytes | DataError]) -> Iterator[NDArray[np.float32] | DataError]:
        pixels = [each for each in waiting if not isinstance(each, DataError)]
        found = iter(self._probabilities(np.stack(pixels)) if pixels else ())
        for each in waiting:
            yield each if isinstance(each, DataError) else next(found)

    def _probabilities(self, pixels: Bytes) -> NDArray[np.float32]:
        """Float32 [B, K] of images uint8 [B, H, W, C]."""
        at_once = AtOnce(min(self._batch or len(pixels), len(pixels)))
        try:
            found: NDArray[np.float32] = at_once.ask(self._computed, torch.from_numpy(pixels)).numpy()
        except torch.OutOfMemoryError as error:
            raise UsageError(f"out of GPU memory with one image {list(pixels.shape[1:3])}") from error
        if at_once.size < len(pixels):
            self._batch = at_once.size
        if not np.isfinite(found).all():
            raise ModelError("the model gives values that are not finite; was its training finite?")
        return found

    @torch.inference_mode()
    def _computed(self, pixels: Tensor) -> Tensor:
        image = pixels.to(self.device).permute(0, 3, 1, 2).float() / 255  # [B, C, H, W], channels_last
        with (
            evaluating(self._network),
            whole_float32(self.device) if self.precision == "fp32" else nullcontext(),
            torch.autocast(self.device.type, self._low, enabled=self._low is not None),
        ):
            return self._ready.probabilities(image).float().cpu()


@dataclass(frozen=True)
class _Given:
    """Pictures by their files, or as they are."""

    images: Sequence[str | Path | Pixels]
    limit: int

    def pixels(self, index: int) -> Pixels:
        given = self.images[index]
        if isinstance(given, str | Path):
            return open_picture(given, limit=self.limit).whole(limit=self.limit)
        try:
            found = as_pixels(np.asarray(given))
        except DataError as error:
            raise DataError(f"{self.place(index)}: {error}") from error
        if found.dtype.kind == "f":
            found = found.astype(np.float32, copy=False)
        if not np.isfinite(found).all():
            raise DataError(f"{self.place(index)}: holds values that are not finite (NaN or infinity)")
        return found if found.ndim == 3 else found[:, :, None]

    def place(self, index: int) -> str:
        given = self.images[index]
        return str(given) if isinstance(given, str | Path) else f"array {index}"
