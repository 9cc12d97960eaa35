"""Predictor: a trained model applied to images of any size, one or many."""

import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from segkit.data.reader import Pixels, Reader, read_pixels
from segkit.errors import DataError, SegkitError, UsageError
from segkit.prediction.arrays import blendable, collect
from segkit.prediction.palette import default_palette
from segkit.prediction.prediction import Prediction, output_kinds
from segkit.prediction.settings import Kept, settings_for
from segkit.prediction.sources import Source, expand, without_collisions
from segkit.prediction.tiles import TTA, bands, check_tiling
from segkit.prediction.writers import output_folder, output_paths
from segkit.recipe import Precision
from segkit.statistics import PixelStatistics

__all__ = ["Outcome", "Precision", "Prediction", "Predictor", "evaluating"]

AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Model(Protocol):
    """What a predictor asks of a model; ``Segmenter`` and ``Ensemble`` answer it, and are ``nn.Module``."""

    reader: Reader

    @property
    def task(self) -> str: ...
    @property
    def classes(self) -> tuple[str, ...]: ...
    @property
    def background(self) -> int | None: ...
    @property
    def maps(self) -> int: ...
    @property
    def takes_whole_images(self) -> bool: ...

    def statistics(self, image: Tensor) -> PixelStatistics: ...
    def modules(self) -> Iterator[nn.Module]: ...
    def parameters(self) -> Iterator[nn.Parameter]: ...
    def to(self, *args: Any, **kwargs: Any) -> Any: ...


@dataclass(frozen=True)
class Outcome:
    """How it went with one image: the files written, or one line that says why there are none."""

    source: Path
    paths: tuple[Path, ...] = ()
    error: str | None = None
    seconds: float = 0.0


class Predictor:
    """Predict images of any size, in overlapping tiles where they are larger than ``tile``.

    ``"kept"``, the default of every setting, is what is kept with the model, or else the recipe's default, just as on
    the command line.

    Args:
        model: a ``Segmenter`` or an ``Ensemble``; it is moved to ``device``.
        tile: side of the tiles in pixels; None: every image in one piece, as models with an ``input_size`` need it.
        overlap: share of a tile in common with the next, 0 up to, but not including, 1.
        tta: ``"mirror"`` averages over the image and its mirror image, ``"flip"`` over both upside down, too: twice and
            four times the cost.
        precision: ``auto`` is bf16 where a GPU computes it natively and fp32 otherwise, above all on a CPU.
        batch: tiles per forward pass.
        device: by default where the model is, or the first GPU where the model is on the CPU and there is a GPU.

    Raises:
        UsageError: a value outside its range.
        ModelError: the settings kept with the model are damaged.
    """

    def __init__(
        self,
        model: Model,
        *,
        tile: int | Kept | None = "kept",
        overlap: float | Kept = "kept",
        tta: TTA | Kept = "kept",
        precision: Precision | Kept = "kept",
        batch: int = 4,
        device: str | torch.device | None = None,
    ) -> None:
        if model.takes_whole_images:
            if tile not in ("kept", None):
                raise UsageError(f"tile={tile}: this model takes images whole; leave tile out")
            tile = None
        settings = settings_for(model, tile=tile, overlap=overlap, tta=tta, precision=precision)
        check_tiling(settings.tile, settings.overlap, batch, settings.tta)
        if settings.precision not in get_args(Precision):
            raise UsageError(f"precision={precision!r}: expected one of {', '.join(get_args(Precision))}")
        self.tile, self.overlap, self.batch, self.tta = settings.tile, settings.overlap, batch, settings.tta
        self.threshold = settings.threshold
        self.device = torch.device(device) if device is not None else _device_for(model)
        self.precision = _computed(settings.precision, self.device)
        self.model = model
        # Convolutions on channels_last data run about twice as fast on CPUs and on tensor cores.
        model.to(device=self.device, memory_format=torch.channels_last)

    def predict(
        self, source: str | Path | Pixels, out: str | Path | None = None, *, threshold: float | Kept = "kept"
    ) -> Prediction:
        """Predict one image.

        Args:
            source: a picture's path, or its pixels [H, W] or [H, W, C]: uint8, uint16, or float in 0..1.
            out: a folder for the result's arrays as ``STEM_labels.npy``, ``STEM_probabilities.npy`` and so on: they are
                then memory maps, and images whose maps don't fit into memory can be predicted.
            threshold: probability from which a pixel of a binary or multilabel task is labelled 1; by default the one
                kept with the model.

        Raises:
            DataError: the picture can't be read, or doesn't fit the model's reader.
            ModelError: the model gives values that are not finite.
            UsageError: out of GPU memory, or an ``out`` that can't be written into.
        """
        threshold = self._threshold(threshold)
        if isinstance(source, str | Path):
            path, name, pixels = Path(source), Path(source).stem, read_pixels(source)
        else:
            path, name, pixels = None, "image", _as_pixels(source)
        task, maps = self.model.task, self.model.maps
        try:
            image = self.model.reader.scale(self.model.reader.channels_of(pixels))
        except ValueError as error:
            raise DataError(f"{path or name}: {error}") from error
        try:
            with closing(self.rows(lambda tiles: blendable(self.model.statistics(tiles)), image)) as rows:
                arrays = collect(
                    rows,
                    image.shape[:2],
                    task=task,
                    maps=maps,
                    threshold=threshold,
                    name=name,
                    out=output_folder(out) if out is not None else None,
                )
        except torch.OutOfMemoryError as error:
            raise UsageError(
                f"{path or name}: out of GPU memory with tile={self.tile} and batch={self.batch}; take less of either"
            ) from error
        return Prediction(
            name=name,
            labels=arrays["labels"],
            probabilities=arrays["probabilities"],
            entropy=arrays["entropy"],
            disagreement=arrays.get("disagreement"),
            classes=tuple(self.model.classes),
            task=task,
            background=0 if task == "binary" else self.model.background,
            palette=default_palette(task, maps, self.model.background),
            image=image,
            source=path,
        )

    def predict_files(
        self,
        sources: str | Path | Iterable[str | Path],
        out: str | Path,
        *,
        overlay: bool = False,
        probability: bool = False,
        entropy: bool = False,
        disagreement: bool = False,
        threshold: float | Kept = "kept",
        progress: Callable[[int, int, Outcome], None] | None = None,
    ) -> list[Outcome]:
        """Predict many images and write what is asked for under ``out``; return one outcome an image.

        An image that can't be predicted has its error in its outcome, and the rest go on. No input is ever overwritten,
        and of two inputs whose outputs would have one name (``x.png`` beside ``x.jpg``) the second is refused.

        Args:
            sources: files, folders (with their subfolders) and patterns, see :func:`segkit.prediction.sources.expand`.
            out: the output folder; below it the inputs' folders are mirrored.
            overlay, probability, entropy, disagreement: what to write beside the mask, see ``Prediction.save``.
            threshold: as in :meth:`predict`.
            progress: called after each image with the number done, the number of all, and the outcome.

        Raises:
            UsageError: ``disagreement`` of a single model, class names that can't name files, or an ``out`` that is one
                of the folders named or can't be written into.
        """
        if disagreement and getattr(self.model, "members", None) is None:
            raise UsageError("disagreement is between the members of an ensemble; this model is a single one")
        kinds = output_kinds(overlay=overlay, probability=probability, entropy=entropy, disagreement=disagreement)
        asked = {kind: True for kind in kinds if kind != "mask"}
        threshold = self._threshold(threshold)
        found = expand(sources, out)
        output_folder(out)
        planned = without_collisions(found, partial(self._targets, kinds=kinds))
        outcomes = []
        for source in planned:
            start = time.perf_counter()
            paths: list[Path] = []
            error = source.error
            if error is None:
                try:
                    paths = self.predict(source.path, threshold=threshold).save(source.folder, **asked)
                except SegkitError as problem:
                    error = str(problem)
                except OSError as problem:
                    error = f"{source.path}: can't write its results ({problem})"
            outcomes.append(Outcome(source.path, tuple(paths), error, time.perf_counter() - start))
            if progress is not None:
                progress(len(outcomes), len(planned), outcomes[-1])
        return outcomes

    def _threshold(self, given: float | Kept) -> float:
        return self.threshold if given == "kept" else settings_for(self.model, threshold=given).threshold

    def _targets(self, source: Source, *, kinds: list[str]) -> list[Path]:
        model, name, suffix = self.model, source.path.stem, source.path.suffix
        paths = output_paths(
            source.folder, name, kinds, suffix=suffix, task=model.task, classes=model.classes, maps=model.maps
        )
        return [path for group in paths.values() for path in group]

    @torch.inference_mode()
    def rows(
        self, function: Callable[[Tensor], Tensor], image: NDArray[np.float32]
    ) -> Generator[NDArray[np.float32], None, None]:
        """Maps of an image [H, W, C] in 0..1 by this predictor's settings, from the top down, each float32 [C', h, W].

        ``function`` is any question to the model, tiles [b, C, h, w] → [b, C', h, w]; it is asked on the predictor's
        device and in its precision, the model in evaluation mode.
        """
        low = AUTOCAST.get(self.precision)

        def ask(tiles: Tensor) -> Tensor:
            with torch.autocast(self.device.type, dtype=low, enabled=low is not None):
                return function(tiles.to(self.device, memory_format=torch.channels_last))

        ordered = np.ascontiguousarray(image)  # tensors have no negative strides, such as those of image[::-1]
        tensor = torch.from_numpy(ordered).permute(2, 0, 1)[None]  # [H, W, C] → [1, C, H, W]
        with evaluating(self.model):
            for band in bands(ask, tensor, tile=self.tile, overlap=self.overlap, batch=self.batch, tta=self.tta):
                yield band[0].cpu().numpy()


@contextmanager
def evaluating(model: Model) -> Iterator[None]:
    """The model in evaluation mode; afterwards every module of it is as it was, frozen ones too."""
    training = [module for module in model.modules() if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True


def _device_for(model: Model) -> torch.device:
    first = next(iter(model.parameters()), None)
    here = first.device if first is not None else torch.device("cpu")
    return torch.device("cuda") if here.type == "cpu" and torch.cuda.is_available() else here


def _computed(precision: Precision, device: torch.device) -> Precision:
    if precision != "auto":
        return precision
    native = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return "bf16" if native else "fp32"


def _as_pixels(array: Pixels) -> Pixels:
    """Pixels [H, W] or [H, W, C], uint8, uint16 or float32, of an array; DataError where it is no image."""
    if not isinstance(array, np.ndarray) or array.ndim not in (2, 3) or not array.size:
        shape = list(array.shape) if isinstance(array, np.ndarray) else type(array).__name__
        raise DataError(f"got {shape}; expected a path, or an array [H, W] or [H, W, C]")
    if array.dtype.kind == "f":
        if not np.isfinite(array).all():
            raise DataError("the array holds values that are not finite (NaN or infinity)")
        return array.astype(np.float32, copy=False)
    if array.dtype not in (np.uint8, np.uint16):
        raise DataError(f"the array is {array.dtype}; expected uint8, uint16, or float in 0..1")
    return array
