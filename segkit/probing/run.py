"""A backbone's worth in minutes: what its frozen features say of labelled images, by neighbours and by planes."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segkit.classification.scores import TOP, classification_scores
from segkit.columns import in_columns
from segkit.devices import default_device, named_device
from segkit.errors import DataError, UsageError
from segkit.evaluation.seen import chosen_splits, trained_splits
from segkit.files import check_writable, write_whole
from segkit.labelled.held import HeldImages
from segkit.labelled.images import LabelledImages
from segkit.labelled.opening import open_labelled
from segkit.labelled.view import View
from segkit.model_arguments import Named
from segkit.precision import Precision, fastest
from segkit.probing.linear import choose_strength, fit_linear
from segkit.probing.neighbours import neighbour_votes
from segkit.probing.pooled import PooledBackbone, features_of
from segkit.probing.subject import Subject, open_subject
from segkit.workers import check_not_importing

LARGEST = 224  # side that images are shown at where nothing else is said
LOOKED_AT = 64  # images whose sizes are looked at for that
SCORES = ("top1", "top5", "nll")


@dataclass(frozen=True)
class Probe:
    """What a backbone's features say.

    Attributes:
        metrics: ready for JSON: ``knn`` and ``linear`` with their accuracies and settings, and what they are of.
    """

    metrics: dict[str, Any]

    def table(self) -> str:
        """The figures as text, without a final newline."""
        metrics = self.metrics
        level, shown = metrics["level"], metrics["view"]
        knn, linear = metrics["knn"], metrics["linear"]
        fitted, scored = metrics["fitted_on"], metrics["scored_on"]
        lines = [
            f"{metrics['backbone']} on {metrics['data']}: {scored['images']} images of {scored['splits']}, by "
            f"{fitted['images']} of {fitted['splits']}",
            f"means over level {level['index']} (stride {level['stride']}, {level['channels']} channels) of images "
            f"{shown['size'][0]}×{shown['size'][1]}",
            "",
            *_rows(metrics),
            "",
            f"neighbours: k = {knn['k']}, weights exp(cos/{knn['temperature']:g}); linear: regularisation "
            f"{linear['strength']:g}, chosen on a fifth of {fitted['splits']}",
            *(f"note: {note}" for note in metrics["notes"]),
        ]
        return "\n".join(lines)

    def save(self, path: str | Path) -> Path:
        """Write the figures as JSON to a file."""
        write_whole(path, json.dumps(self.metrics, indent=2) + "\n")
        return Path(path)


def probe(
    backbone: Named | Path,
    data: str | Path,
    *,
    weights: str | Path | None = None,
    split: str = "test",
    level: int = -1,
    size: int | tuple[int, int] | None = None,
    k: int = 20,
    temperature: float = 0.07,
    batch: int = 64,
    precision: Precision | None = None,
    cache: str | Path | None = None,
    device: str | torch.device | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Probe:
    """How well frozen features tell classes apart: the k-nearest-neighbour score and the linear probe.

    Both are fitted to ``train`` and scored on ``split``. What the probe's regularisation is to be is found on a fifth
    of ``train``. Images without a label count on neither side.

    Args:
        backbone: a name, ``{"name": …, option: value}``, or the path of a saved classifier, segmenter or pretraining
            run, or of a run's ``backbone.safetensors``.
        data: labelled images.
        weights: for a name: ``"imagenet"``, a file or another source; None: random ones.
        split: to score.
        level: of the pyramid, finest first; -1 is the coarsest.
        size: what the backbone is shown; None: what its model is, else the images' own up to 224.
        k, temperature: of the neighbours' votes.
        batch: images computed at once.
        precision: of the backbone's arithmetic; None takes the device's fastest.
        cache: a folder to keep features in, so that the same ones needn't be computed again.
        device: None: the GPU where there is one.
        progress: called with (done, all) images.

    Raises:
        UsageError: a wrong argument.
        DataError: images that can't be used, or a missing split.
        ModelError: a model that can't be read or has no backbone.
    """
    check_not_importing()
    if split == "train":
        raise UsageError("split is 'train', which the probes are fitted to; score another one")
    if type(batch) is not int or batch < 1:
        raise UsageError(f"batch={batch!r}: expected a number of images, 1 or more")
    if precision is not None and precision not in get_args(Precision):
        raise UsageError(f"precision={precision!r}: expected one of {', '.join(get_args(Precision))}, or None")
    at = named_device(device) if device is not None else default_device()
    if cache is not None:
        check_writable(Path(cache))
    images = open_labelled(data)
    indices = {name: _labelled(images, name) for name in ("train", split)}
    subject = open_subject(backbone, weights)
    pooled = PooledBackbone(subject.backbone, subject.mean, subject.std, level=level)
    view = _view(size, subject, images, indices["train"])
    held = {
        name: HeldImages(images, chosen, channels=subject.mean.shape[1], size=view, device=at)
        for name, chosen in indices.items()
    }
    kept = Path(cache) if cache is not None else None
    features: dict[str, Tensor] = {}
    for name, each in held.items():
        before, total = (len(held["train"]) if features else 0), len(held["train"]) + len(held[split])
        show = partial(_told, progress, before, total) if progress is not None else None
        features[name] = features_of(pooled, each, batch=batch, precision=precision, cache=kept, progress=show)
    labels = {name: each.labels.to(at) for name, each in held.items()}
    figures = _figures(features, labels, images.classes, split, k, temperature)
    return Probe(
        {
            "backbone": subject.title,
            "data": images.name,
            "classes": list(images.classes),
            "level": {"index": pooled.level, "stride": pooled.stride, "channels": pooled.channels},
            "view": view.model_dump(mode="json"),
            "precision": precision or fastest(at),
            "fitted_on": {"splits": "train", "images": len(held["train"])},
            "scored_on": {"splits": split, "images": len(held[split])},
            **figures,
            "notes": [
                *images.notes,
                *subject.notes,
                *_seen(subject, images, split),
                *_notes(figures, k, len(held["train"])),
            ],
        }
    )


def _told(progress: Callable[[int, int], None], before: int, total: int, done: int, _all: int) -> None:
    progress(before + done, total)


def _figures(
    features: dict[str, Tensor],
    labels: dict[str, Tensor],
    classes: Sequence[str],
    split: str,
    k: int,
    temperature: float,
) -> dict[str, Any]:
    if features["train"].device.type == "mps":  # it has no float64
        features, labels = ({name: each.cpu() for name, each in given.items()} for given in (features, labels))
    train, truth, count = features["train"], labels["train"], len(classes)
    votes = neighbour_votes(train, truth, features[split], classes=count, k=k, temperature=temperature)
    strength, searched = choose_strength(train, truth, classes=count)
    fitted = fit_linear(train, truth, classes=count, strength=strength)
    most = int(torch.bincount(truth, minlength=count).argmax())
    return {
        "majority": {"top1": float((labels[split] == most).double().mean())},
        "knn": {**_scores(votes, labels[split], classes), "k": k, "temperature": temperature},
        "linear": {
            **_scores(fitted.logits(features[split]).softmax(1), labels[split], classes),
            "strength": strength,
            "searched": {f"{each:g}": right for each, right in searched.items()},
            "converged": fitted.converged,
        },
    }


def _scores(probabilities: Tensor, labels: Tensor, classes: Sequence[str]) -> dict[str, Any]:
    """Top-1 with its 95 % interval over images, top-5 and log loss of probabilities [N, K]."""
    found = classification_scores(probabilities.cpu().numpy(), labels.cpu().numpy(), classes)
    return {**{name: found[name] for name in SCORES}, "interval": found["intervals"]["top1"]}


def _labelled(images: LabelledImages, split: str) -> NDArray[np.int64]:
    """The labelled images of a split; DataError where there are none."""
    indices = images.indices(split)
    indices = indices[images.labels[indices] >= 0]
    if not len(indices):
        raise DataError(f"{images.path}: no labelled image in {split!r}")
    return indices


def _view(
    size: int | tuple[int, int] | None, subject: Subject, images: LabelledImages, indices: NDArray[np.int64]
) -> View:
    """What the backbone is shown: of a size that is asked for, what its model sees, or what fits the images."""
    if size is not None:
        sides = (size, size) if isinstance(size, int) else size
        if min(sides) < 1:
            raise UsageError(f"size is {size}; expected 1 or more")
        return View.usual(sides)
    if subject.view is not None:
        return subject.view
    looked_at = indices[:: max(1, -(-len(indices) // LOOKED_AT))]
    shorter = sorted(min(images.read(int(index)).shape[:2]) for index in looked_at)
    side = min(LARGEST, shorter[len(shorter) // 2])
    return View.usual((side, side))


def _seen(subject: Subject, images: LabelledImages, split: str) -> list[str]:
    asked = split.split("+")
    trained, chosen = trained_splits(subject.about, images.name), chosen_splits(subject.about, images.name)
    return [
        *(
            f"the backbone was trained on split {each!r}: these figures say little about new images"
            for each in asked
            if each in trained
        ),
        *(
            f"the backbone's weights were chosen by their score on split {each!r}: these figures favour them"
            for each in asked
            if each in chosen
        ),
    ]


def _notes(figures: dict[str, Any], k: int, images: int) -> list[str]:
    notes = []
    if k > images:
        notes.append(f"k is {k}, but there are {images} training images: all of them vote")
    if not figures["linear"]["converged"]:
        notes.append("the linear probe's optimiser stopped before the minimum: there its figures may be others")
    return notes


def _rows(metrics: dict[str, Any]) -> list[str]:
    """A row a probe: top-1 with its interval and, of more than five classes, top-5."""
    five = len(metrics["classes"]) > TOP
    rows = [["", "top-1", "95 %", *(["top-5"] if five else [])]]
    for title, key in {
        "nearest neighbours": "knn",
        "linear probe": "linear",
        "most frequent class": "majority",
    }.items():
        found = metrics[key]
        interval = "{:.1%} to {:.1%}".format(*found["interval"]) if found.get("interval") else ""
        fifth = [f"{found['top5']:.2%}" if "top5" in found else ""] if five else []
        rows.append([title, f"{found['top1']:.2%}", interval, *fifth])
    return in_columns(rows)
