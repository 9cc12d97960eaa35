"""How good a model, each member of an ensemble, or a folder of masks is on a split of a dataset."""

import csv
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segkit.artifact import DESCRIPTION, load
from segkit.data.folder import DatasetFolder, Sample, open_dataset
from segkit.data.masks import LOSSLESS
from segkit.ensemble import Ensemble
from segkit.errors import ModelError
from segkit.evaluation.given_masks import given_masks
from segkit.evaluation.metrics import SegmentationMetrics, headline
from segkit.evaluation.table import score_table
from segkit.files import atomic_path
from segkit.model import Segmenter
from segkit.prediction.labels import labels_of
from segkit.prediction.predictor import Predictor
from segkit.prediction.settings import Kept, settings_for
from segkit.prediction.tiles import TTA
from segkit.recipe import Precision

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Report:
    """Scores on one split.

    Attributes:
        metrics: what ``SegmentationMetrics.compute`` gives, with ``data``, ``split``, ``region`` and ``settings``.
        members: the same for each member of an ensemble, by name.
    """

    metrics: dict[str, Any]
    members: dict[str, dict[str, Any]] = field(default_factory=dict)

    def headline(self) -> dict[str, Any]:
        """The one score to compare by, with the split and the number of images it is of."""
        name, value = headline(self.metrics)
        on = f"{self.metrics['split']} of {self.metrics['data']}"
        return {name: round(value, 4), "split": on, "images": len(self.metrics["images"])}

    def table(self) -> str:
        """The scores as text, each under a name that says what it is."""
        return score_table(self.metrics, self.members)

    def save(self, folder: str | Path) -> Path:
        """Write ``metrics.json``, ``per_image.csv`` and ``table.txt`` into ``folder`` and return it."""
        folder = Path(folder)
        with atomic_path(folder / "metrics.json") as path:
            path.write_text(json.dumps({**self.metrics, "members": self.members}, indent=2), encoding="utf-8")
        with atomic_path(folder / "table.txt") as path:
            path.write_text(self.table() + "\n", encoding="utf-8")
        rows = list(self._rows())
        with atomic_path(folder / "per_image.csv") as path, path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
        return folder

    def _rows(self) -> Iterator[dict[str, Any]]:
        """One row a model and image; an undefined score is an empty cell."""
        for name, metrics in {"": self.metrics, **self.members}.items():
            for image in metrics["images"]:
                scores = {f"{kind} {label}": value for kind in ("dice", "iou") for label, value in image[kind].items()}
                yield {"member": name, "image": image["name"], "pixels": image["pixels"], **scores}


def evaluate(
    model: Segmenter | Ensemble | str | Path,
    data: str | Path,
    split: str = "test",
    *,
    tile: int | Kept | None = "kept",
    overlap: float | Kept = "kept",
    tta: TTA | Kept = "kept",
    threshold: float | Kept = "kept",
    precision: Precision | Kept = "kept",
    progress: Progress | None = None,
) -> Report:
    """Score a model, and each member of an ensemble in the same pass, on a split of a dataset.

    Args:
        model: a model, where one is saved, or a folder of masks named like the dataset's pictures (``NAME.png`` or
            ``NAME_mask.png``), which are then scored instead; the settings have no meaning for those.
        data: the dataset's folder.
        split: which pictures.
        tile, overlap, tta, precision: as for ``Predictor``, by default those kept with the model.
        threshold: probability from which a pixel is foreground (binary and multilabel), by default the model's too.
        progress: called after each picture with the number done, the number of all, and the picture's name.

    Raises:
        ModelError: the model is of other classes than the dataset, or gives values that are not finite.
        DataError: a picture or mask that can't be used.
    """
    folder = open_dataset(data)
    samples = folder.samples(split)
    settings: dict[str, Any] = {}
    members: tuple[str, ...] = ()
    source = open_source(model) if isinstance(model, str | Path) else model
    threshold = settings_for(source, threshold=threshold).threshold
    if isinstance(source, Path):
        name = f"masks in {source}"
        labelled = given_masks(source, folder, samples)
    else:
        model = source
        name = model.about.get("trained_on", {}).get("recipe", "model")
        _check_fit(model, folder)
        members = model.names if isinstance(model, Ensemble) else ()
        predictor = Predictor(model, tile=tile, overlap=overlap, tta=tta, precision=precision)
        labelled = _predicted(model, predictor, samples, threshold)
        settings = {key: getattr(predictor, key) for key in ("tile", "overlap", "tta", "precision")}

    counters = [SegmentationMetrics(folder.classes, folder.task, folder.background, threshold) for _ in (0, *members)]
    for done, (sample, maps) in enumerate(zip(samples, labelled, strict=True), start=1):
        target = folder.read_mask(sample, maps[0].shape[-2:])
        for counter, labels in zip(counters, maps, strict=True):
            counter.update(sample.name, labels, target)
        if progress is not None:
            progress(done, len(samples), sample.name)

    context = {
        "model": name,
        "data": folder.name,
        "split": split,
        "region": "inside the region of interest" if any(sample.roi for sample in samples) else "whole images",
        "settings": settings,
    }
    whole, *parts = ({**context, **counter.compute()} for counter in counters)
    return Report(whole, dict(zip(members, parts, strict=True)))


def open_source(path: str | Path) -> Segmenter | Ensemble | Path:
    """The model saved at ``path``, or ``path`` itself where it is a folder of masks.

    Raises:
        ModelError: neither; of a run's folder it says where in it the model is.
    """
    path = Path(path)
    if not path.is_dir() or (path / DESCRIPTION).is_file() or (path / "model" / DESCRIPTION).is_file():
        return load(path)
    holds_masks = any(entry.is_dir() or entry.suffix.lower() in LOSSLESS for entry in path.iterdir())
    return path if holds_masks else load(path)


def _check_fit(model: Segmenter | Ensemble, folder: DatasetFolder) -> None:
    """Raise ModelError where the model's ids don't mean what the dataset's do; a binary foreground may be renamed."""
    if model.task != folder.task:
        raise ModelError(f"the model's task is {model.task}, that of {folder.name} is {folder.task}")
    if model.task != "binary" and model.classes != folder.classes:
        theirs, ours = ", ".join(model.classes), ", ".join(folder.classes)
        raise ModelError(f"the model's classes are {theirs}, those of {folder.name} {ours}; names and order must agree")


def _predicted(
    model: Segmenter | Ensemble, predictor: Predictor, samples: list[Sample], threshold: float
) -> Iterator[list[NDArray[np.uint8]]]:
    """Labels of each picture: the model's, then, for an ensemble, each member's."""

    def function(tiles: Tensor) -> Tensor:
        return torch.cat(probabilities_with_members(model, tiles), dim=1)  # [b, (1 + members)·maps, h, w]

    for sample in samples:
        bands: list[list[NDArray[np.uint8]]] = []
        for band in predictor.rows(function, model.reader.read(sample.image)):
            if not np.isfinite(band).all():
                raise ModelError(f"{sample.name}: the model gives values that are not finite; was its training finite?")
            parts = np.split(band, len(band) // model.maps)
            bands.append([labels_of(part, model.task, threshold) for part in parts])
        yield [np.concatenate(labels, axis=-2) for labels in zip(*bands, strict=True)]


def probabilities_with_members(model: Segmenter | Ensemble, image: Tensor) -> list[Tensor]:
    """Probabilities [B, K, H, W] of the model and then of each member of an ensemble, from one pass of each member."""
    if isinstance(model, Segmenter):
        return [model.probabilities(image)]
    members = [member.probabilities(image) for member in cast(Iterable[Segmenter], model.members)]
    mean = torch.stack([p * w.view(1, -1, 1, 1) for p, w in zip(members, model.weights, strict=True)]).sum(0)
    if model.task == "multiclass":
        mean = mean / mean.sum(1, keepdim=True)  # weights by class leave sums other than 1
    return [mean, *members]
