"""How good a classifier is on a split of labelled images."""

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segkit.classification.confusion import Matrix, confusion_matrix, draw_confusion, write_confusion
from segkit.classification.prediction import Labeller, LabelsImages
from segkit.classification.score_table import classification_table
from segkit.classification.scores import classification_scores, ranks
from segkit.classification.seen import seen_before
from segkit.classification.worst import SHOWN, WorstImage, draw_worst
from segkit.errors import DataError, ModelError
from segkit.files import atomic_path, write_whole
from segkit.labelled.images import LabelledImages
from segkit.labelled.opening import open_labelled
from segkit.progress import Progress
from segkit.sections import Precision

CONFUSED = 10  # pairs of classes that are named
NAMED = 5  # classes in a message


@dataclass(frozen=True)
class ClassificationReport:
    """Scores of a classifier on one split.

    Attributes:
        metrics: what :func:`segkit.classification.scores.classification_scores` gives, with ``model``, ``data``,
            ``split``, ``images`` (how many), ``classes``, ``settings``, ``confused`` (the pairs of classes most often
            taken for one another), ``worst`` and ``notes``.
        names: of the images, in the split's order.
        labels: ids of their true classes, int64 [N].
        probabilities: what the model said, float32 [N, K].
        confusion: how many images of each true class (row) were given each class (column), int64 [K, K].
        worst: the images with the least probability of their true class, with their pictures.
    """

    metrics: dict[str, Any]
    names: tuple[str, ...] = field(repr=False)
    labels: NDArray[np.int64] = field(repr=False)
    probabilities: NDArray[np.float32] = field(repr=False)
    confusion: Matrix = field(repr=False)
    worst: tuple[WorstImage, ...] = field(repr=False)

    def headline(self) -> dict[str, Any]:
        """The one score to compare by, with the split and the number of images it is of."""
        on = f"{self.metrics['split']} of {self.metrics['data']}"
        return {"top-1": round(self.metrics["top1"], 4), "split": on, "images": self.metrics["images"]}

    def table(self) -> str:
        """The scores as text, with their intervals; of many classes those that are recognised least."""
        return classification_table(self.metrics)

    def save(self, folder: str | Path) -> Path:
        """Write the report into ``folder`` and return it.

        ``metrics.json``, ``per_image.csv`` (a row an image), ``table.txt``, ``confusion.csv``, ``confusion.png`` and
        ``worst.png``.
        """
        folder = Path(folder)
        write_whole(folder / "metrics.json", json.dumps(self.metrics, indent=2))
        write_whole(folder / "table.txt", self.table() + "\n")
        with atomic_path(folder / "per_image.csv") as path, path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["image", "label", "predicted", "right", "probability", "confidence", "rank"])
            writer.writerows(self._rows())
        classes = self.metrics["classes"]
        write_confusion(self.confusion, classes, folder / "confusion.csv")
        draw_confusion(self.confusion, classes, folder / "confusion.png")
        draw_worst(self.worst, folder / "worst.png")
        return folder

    def _rows(self) -> list[list[Any]]:
        """One an image: its true class and that class's probability and place, what was said and how surely."""
        classes, predicted = self.metrics["classes"], self.probabilities.argmax(1)
        own = self.probabilities[np.arange(len(self.labels)), self.labels]
        columns = zip(
            self.names,
            self.labels,
            predicted,
            own,
            self.probabilities.max(1),
            ranks(self.probabilities, self.labels),
            strict=True,
        )
        return [
            [name, classes[true], classes[said], int(true == said), f"{p:.6g}", f"{q:.6g}", int(rank) + 1]
            for name, true, said, p, q, rank in columns
        ]


def evaluate_classifier(
    model: LabelsImages,
    data: str | Path | LabelledImages,
    split: str = "test",
    *,
    precision: Precision = "auto",
    batch: int | None = None,
    device: str | None = None,
    progress: Progress | None = None,
) -> ClassificationReport:
    """Score a classifier on a split of labelled images.

    Args:
        model: a ``Classifier``, a ``ClassifierEnsemble`` or a ``JointClassifier``.
        data: labelled images, or where they are, as :func:`segkit.labelled.opening.open_labelled` takes it.
        split: which images; several splits are joined by ``+``.
        precision, batch, device: as for :func:`segkit.classification.prediction.classify`.
        progress: called after each image with the number done, the number of all, and the image's name.

    Raises:
        ModelError: the dataset has a class that the model doesn't know, or the model gives values that are not finite.
        DataError: an image that can't be read, no such split, or images without labels.
        UsageError: an argument out of its range.
    """
    images = data if isinstance(data, LabelledImages) else open_labelled(data)
    images = with_classes_of(model, images)
    indices = images.indices(*split.split("+"))
    labels = images.labels[indices]
    if not len(indices) or labels.min() < 0:
        raise DataError(
            f"{images.path}: split {split!r} has {'images without labels' if len(indices) else 'no images'}"
        )
    labeller = Labeller(model, precision=precision, batch=batch, device=device)
    names = tuple(images.names[index] for index in indices)
    said = []
    for name, found in zip(names, labeller.of(images, indices.tolist()), strict=True):
        if isinstance(found, DataError):
            raise found
        said.append(found)
        if progress is not None:
            progress(len(said), len(names), name)
    probabilities = np.stack(said)
    confusion = confusion_matrix(labels, probabilities.argmax(1), len(model.classes))
    worst = _worst(model, images, indices, probabilities)
    metrics = {
        "model": model.about.get("trained_on", {}).get("recipe", "classifier"),
        "data": images.name,
        "split": split,
        "images": len(names),
        "classes": list(model.classes),
        "settings": {"precision": labeller.precision},
        **classification_scores(probabilities, labels, model.classes),
        "confused": _confused(confusion, model.classes),
        "worst": [{"name": each.name, "probability": each.probability} for each in worst],
        "notes": [*images.notes, *seen_before(model, images, split)],
    }
    return ClassificationReport(metrics, names, labels, probabilities, confusion, worst)


def with_classes_of(model: LabelsImages, images: LabelledImages) -> LabelledImages:
    """The images with the model's classes and their ids; some of the classes may have no image.

    Raises:
        ModelError: a class of the dataset is none of the model's.
    """
    unknown = [name for name in images.classes if name not in model.classes]
    if unknown:
        raise ModelError(
            f"{images.name} has classes that the model doesn't know: {_first(unknown)}; the model's are "
            f"{_first(model.classes)}. Call them alike, or take a model that was trained on these"
        )
    ids = np.array([*(model.classes.index(name) for name in images.classes), -1])  # the last of those without label
    return replace(images, classes=model.classes, labels=ids[images.labels])


def _first(names: Sequence[str]) -> str:
    """The first few of the names, and how many there are besides."""
    rest = f" and {len(names) - NAMED} others" if len(names) > NAMED else ""
    return ", ".join(map(repr, names[:NAMED])) + rest


def _worst(
    model: LabelsImages, images: LabelledImages, indices: NDArray[np.int64], probabilities: NDArray[np.float32]
) -> tuple[WorstImage, ...]:
    """The images with the least probability of their true class."""
    labels = images.labels[indices]
    own = probabilities[np.arange(len(labels)), labels]
    found = []
    for place in np.argsort(own, kind="stable")[:SHOWN]:
        pixels = images.read(int(indices[place]), model.channels)
        found.append(
            WorstImage(
                images.names[indices[place]],
                pixels if model.view is None else model.view.pixels(pixels),
                model.classes[labels[place]],
                model.classes[int(probabilities[place].argmax())],
                float(own[place]),
                float(probabilities[place].max()),
            )
        )
    return tuple(found)


def _confused(confusion: Matrix, classes: tuple[str, ...]) -> list[dict[str, Any]]:
    """The pairs of a true class and another that most of its images were given, by the number of images."""
    wrong = confusion.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:CONFUSED]
    pairs = [divmod(int(at), len(classes)) for at in order if wrong.flat[at]]
    return [
        {
            "true": classes[true],
            "predicted": classes[said],
            "images": int(wrong[true, said]),
            "of": int(confusion[true].sum()),
        }
        for true, said in pairs
    ]
