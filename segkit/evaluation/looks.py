"""Each image of a split in turn: what a model, its members or a folder of masks says of it, held against the truth."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segkit.artifact import AnyModel
from segkit.data.cases import Case
from segkit.data.folder import DatasetFolder, Sample
from segkit.data.masks import Ids
from segkit.data.model_input import read_input
from segkit.data.reader import Reader, read_pixels
from segkit.ensemble import Ensemble
from segkit.errors import NotFiniteError
from segkit.evaluation.calibration import Calibration
from segkit.evaluation.given_masks import given_masks
from segkit.evaluation.lesions import LesionCounts
from segkit.evaluation.metrics import SegmentationMetrics
from segkit.evaluation.selective import Selective
from segkit.evaluation.shown_slice import shown_slice
from segkit.evaluation.surface import SurfaceDistances
from segkit.evaluation.thresholds import ThresholdCounts
from segkit.labels import at_temperature, labels_at, labels_of
from segkit.postprocessing.settings import Postprocessing
from segkit.postprocessing.steps import postprocess
from segkit.postprocessing.targets import Spacing
from segkit.prediction.depth import notes_on
from segkit.prediction.of_sample import spacing_of
from segkit.prediction.predictor import Predictor
from segkit.statistics import entropy, maximum_entropy

Threshold = float | NDArray[np.float32]


@dataclass(frozen=True)
class Tally:
    """What is counted of one model's masks.

    Attributes:
        metrics: counts of its labels.
        part: whose probabilities they are made of: 0 the model's, from 1 on a member's.
        threshold: by which; a number, or one a map, [K, 1, 1].
        calibration: of its probabilities, if there are any.
        selective: its errors by their uncertainty, likewise.
        surface: distances of its edges, if asked for.
        lesions: its objects, likewise.
        steps: what is done to the labels then; calibration and errors by uncertainty are of those before.
    """

    metrics: SegmentationMetrics
    part: int = 0
    threshold: Threshold = 0.5
    calibration: Calibration | None = None
    selective: Selective | None = None
    surface: SurfaceDistances | None = None
    lesions: LesionCounts | None = None
    steps: Postprocessing | None = None


@dataclass(frozen=True)
class Look:
    """What is said of one image.

    Attributes:
        sample: the image's files.
        target: the truth, 255 where it is not counted.
        labels: of each tally.
        entropy: of the model's probabilities, uint8 [H, W], 255 is the largest possible; None of masks.
        picture: reads the image for people to look at, float32 [H, W, C] in 0..1.
        spacing: millimetres from one pixel to the next along each axis of a mask; None where they are unknown.
        grid: I, J and K of a volume, whose target, labels and entropy are those of one tall picture, [I · J, K].
        cut: what of maps [..., H, W] is drawn: all of a picture, a slice of a volume.
        notes: what a user should know of the image's depth.
    """

    sample: Sample
    target: Ids
    labels: list[NDArray[np.uint8]]
    entropy: NDArray[np.uint8] | None
    picture: Callable[[], NDArray[np.float32]]
    spacing: tuple[float, ...] | None = None
    grid: tuple[int, int, int] | None = None
    cut: Callable[[NDArray[Any]], NDArray[Any]] = field(default=lambda maps: maps)
    notes: tuple[str, ...] = ()

    def whole(self, maps: NDArray[Any]) -> NDArray[Any]:
        """Maps [..., H, W] as they are; of a volume, which come as one tall picture, [..., I, J, K]."""
        return maps if self.grid is None else maps.reshape(*maps.shape[:-2], *self.grid)


def looks_of_model(
    model: AnyModel,
    predictor: Predictor,
    folder: DatasetFolder,
    samples: Sequence[Sample],
    tallies: Sequence[Tally],
    curve: ThresholdCounts | None = None,
) -> Iterator[Look]:
    """A look at each image, in one pass of each member; probabilities, and the curve, are counted on the way.

    Probabilities are held for one row of tiles at a time, or for one image where labels are made anew of all of them;
    labels and entropy, a byte a pixel each, for one image.
    """
    ready = cast("AnyModel", predictor.prepared)  # of the model's own class

    def ask(tiles: Tensor) -> Tensor:
        return torch.cat(probabilities_with_members(ready, tiles), dim=1)  # [b, (1 + members)·maps, h, w]

    largest = maximum_entropy(model.task, model.maps)
    for sample in samples:
        image = read_input(folder, sample, model.reader)
        target = folder.read_mask(sample, image.shape[:2])
        labels: list[list[NDArray[np.uint8]]] = [[] for _ in tallies]
        unsure, probabilities = [], []
        for band, truth in _bands(predictor, ask, image, target, sample.name):
            parts = np.split(band, len(band) // model.maps)
            plain, parts[0] = parts[0], at_temperature(parts[0], predictor.temperature, model.task)
            if any(tally.steps is not None and tally.steps.relabels for tally in tallies):
                probabilities.append(parts[0])
            for tally, found in zip(tallies, labels, strict=True):
                if tally.part == 0:
                    found.append(labels_at(plain, predictor.temperature, model.task, tally.threshold))
                else:
                    found.append(labels_of(parts[tally.part], model.task, tally.threshold))
                if tally.calibration is not None:
                    tally.calibration.update(parts[tally.part], truth)
                if tally.selective is not None:
                    tally.selective.update(parts[tally.part], found[-1], truth)
            if curve is not None:
                curve.update(parts[0], truth)
            nats = entropy(torch.from_numpy(parts[0][None]), model.task)[0].numpy()
            unsure.append(np.rint(nats * (255 / largest)).clip(0, 255).astype(np.uint8))
        case = image if isinstance(image, Case) else None
        maps = np.concatenate(probabilities, axis=1) if probabilities else None
        spacing: Spacing | None = None
        if any(tally.steps is not None for tally in tallies):
            spacing = spacing_of(predictor, sample) if case is None else case.spacing
        whole = [
            _after(tally, model, maps, np.concatenate(found, axis=-2), case, spacing)
            for tally, found in zip(tallies, labels, strict=True)
        ]
        if isinstance(image, Case):
            yield _look_at_case(image, sample, target, whole, np.concatenate(unsure), predictor.model.background)
            continue
        picture = image[..., : model.reader.channels]
        takes_depth = sample.depth is not None and model.reader.depth_channels
        notes = notes_on(image[..., model.reader.channels :], predictor.encodings) if takes_depth else ()
        yield Look(sample, target, whole, np.concatenate(unsure), partial(np.asarray, picture), notes=notes)


def _after(
    tally: Tally,
    model: AnyModel,
    probabilities: NDArray[np.float32] | None,
    labels: Ids,
    case: Case | None,
    spacing: Spacing | None,
) -> Ids:
    """A tally's labels after its steps; those of a volume come, and go, as one tall picture."""
    if tally.steps is None:
        return labels
    grid = labels.shape[-2:] if case is None else case.geometry.shape
    found = postprocess(
        None if probabilities is None else probabilities.reshape(-1, *grid),
        labels.reshape(*labels.shape[:-2], *grid),
        settings=tally.steps,
        task=model.task,
        classes=model.classes,
        background=model.background,
        spacing=spacing,
        threshold=tally.threshold,
    )
    return found.reshape(labels.shape)


def _look_at_case(
    case: Case,
    sample: Sample,
    target: Ids,
    labels: list[NDArray[np.uint8]],
    unsure: NDArray[np.uint8] | None,
    background: int | None,
) -> Look:
    shown = shown_slice(case, target, labels[0], background)
    return Look(
        sample,
        target,
        labels,
        unsure,
        shown.picture,
        case.spacing,
        grid=case.geometry.shape,
        cut=shown.of,
    )


def looks_of_masks(masks: Path, folder: DatasetFolder, samples: list[Sample]) -> Iterator[Look]:
    """A look at each image by masks that exist already; they have no probabilities."""
    for sample, labels in zip(samples, given_masks(masks, folder, samples), strict=True):
        target = folder.read_mask(sample, labels[0].shape[-2:])
        if sample.volume:
            case = folder.cases.case(sample, Reader(window="picture"))
            yield _look_at_case(case, sample, target, labels, None, folder.background)
            continue
        yield Look(sample, target, labels, None, partial(_picture, sample.image))


def count_thresholds(
    model: AnyModel,
    predictor: Predictor,
    folder: DatasetFolder,
    samples: Sequence[Sample],
    progress: Callable[[str], None],
) -> ThresholdCounts:
    """Pixels of a split by their probability; ``progress`` is told each picture's name."""
    curve, ready = ThresholdCounts(model.maps), cast("AnyModel", predictor.prepared)
    for sample in samples:
        image = read_input(folder, sample, model.reader)
        target = folder.read_mask(sample, image.shape[:2])
        for band, truth in _bands(predictor, ready.probabilities, image, target, sample.name):
            curve.update(at_temperature(band, predictor.temperature, model.task), truth)
        progress(sample.name)
    return curve


def probabilities_with_members(model: AnyModel, image: Tensor) -> list[Tensor]:
    """Probabilities [B, K, H, W] of the model and then of each member of an ensemble, from one pass of each member."""
    return model.probabilities_with_members(image) if isinstance(model, Ensemble) else [model.probabilities(image)]


def _picture(path: Path) -> NDArray[np.float32]:
    return stretched(read_pixels(path))


def stretched(pixels: NDArray[np.generic]) -> NDArray[np.float32]:
    """Pixels as float32 in 0..1 for people to look at: 8 bits by their range, others from dark to bright."""
    values = pixels.astype(np.float32)
    if pixels.dtype == np.uint8:
        return np.divide(values, 255, dtype=np.float32)
    low, high = np.quantile(values, [0.005, 0.995])
    shown: NDArray[np.float32] = ((values - low) / max(high - low, 1e-6)).clip(0, 1).astype(np.float32)
    return shown


def _bands(
    predictor: Predictor, ask: Callable[[Tensor], Tensor], image: NDArray[np.float32] | Case, target: Ids, name: str
) -> Iterator[tuple[NDArray[np.float32], Ids]]:
    """Rows of maps from the top down, each with the same rows of the truth."""
    top = 0
    for band in predictor.rows(ask, image):
        if not np.isfinite(band).all():
            raise NotFiniteError(f"{name}: the model gives values that are not finite; was its training finite?")
        yield band, target[..., top : top + band.shape[1], :]
        top += band.shape[1]
