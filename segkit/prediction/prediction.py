"""What a model says of one image, ready to look at or to save."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segkit.data.depth import Depth
from segkit.data.picture import Picture, Resolution
from segkit.data.scaled import AT_ONCE, Scaled
from segkit.drawing.overlay import draw_overlay
from segkit.errors import UsageError
from segkit.files import writing_to
from segkit.given_path import given_path
from segkit.prediction.depth_picture import draw_depth_and_change
from segkit.prediction.writers import output_paths, write_map, write_mask, write_pages, write_picture
from segkit.statistics import maximum_entropy
from segkit.task import Task
from segkit.trusting.verdict import Judge, Trust


@dataclass(frozen=True, eq=False)
class Prediction:
    """Labels and probabilities of one image, at the image's size.

    Attributes:
        name: stem of the image's file, or ``image``.
        labels: class ids, uint8 [H, W]; binary: 1 where the probability reaches the threshold; multiclass: the most
            probable class, the first of equals; multilabel: 0/1 maps [K, H, W].
        probabilities: float32 [K, H, W] in 0..1; K = 1 for a binary task.
        entropy: of the probabilities, float32 [H, W], nats.
        disagreement: mutual information between the pixel's class and who looked at it, the ensemble's members in
            every tile and flip that has the pixel; float32 [H, W], nats; None for a single model.
        classes: names of the classes.
        task: binary, multilabel or multiclass.
        background: the label that is background, if any.
        palette: colour of each label, uint8 [labels, 3].
        scaled: what the model saw, by rows.
        depth: the second modality that the model was given, float32 [H, W, C + 1], validity last; None for none.
        without_depth: the labels that the model gives without it; None where that wasn't asked.
        source: the image's file, None for an array.
        judge: what is kept with the model to judge its predictions by; None where it wasn't taught that.
        depth_notes: what a user should know of the depth: that it holds nothing, or is unlike what was learnt from.
    """

    name: str
    labels: NDArray[np.uint8]
    probabilities: NDArray[np.float32]
    entropy: NDArray[np.float32]
    disagreement: NDArray[np.float32] | None
    classes: tuple[str, ...]
    task: Task
    background: int | None
    palette: NDArray[np.uint8]
    scaled: Scaled
    depth: Depth | None = None
    without_depth: NDArray[np.uint8] | None = None
    source: Path | None = None
    judge: Judge | None = None
    depth_notes: tuple[str, ...] = ()

    @cached_property
    def trust(self) -> Trust | None:
        """The Dice to expect, whether to accept it, and in what the image is unlike those trained on.

        None where the model wasn't taught it, see :func:`segkit.trust`.
        """
        return None if self.judge is None else self.judge.of(self)

    @property
    def image(self) -> NDArray[np.float32]:
        """What the model saw, float32 [H, W, C] in 0..1; made, or read again from the file, at each call."""
        return self.scaled.whole()

    @property
    def mpp(self) -> Resolution | None:
        """Microns from one pixel of the result to the next, down and across; None where nobody knows."""
        return self.scaled.pixels.mpp if isinstance(self.scaled.pixels, Picture) else None

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know of how the image was opened, and of its depth."""
        opened = self.scaled.pixels.notes if isinstance(self.scaled.pixels, Picture) else ()
        return (*opened, *self.depth_notes)

    def overlay(self) -> NDArray[np.uint8]:
        """The image as RGB uint8 [H, W, 3] with the classes filled and outlined; background is left as it is.

        Drawn in parts, so that no more is held than the result.
        """
        height, width = self.scaled.size
        picture = np.empty((height, width, 3), np.uint8)
        for top in range(0, height, AT_ONCE):
            bottom = min(top + AT_ONCE, height)
            first, last = max(top - 1, 0), min(bottom + 1, height)  # contours look at the next row
            labels = np.asarray(self.labels[..., first:last, :])
            part = draw_overlay(self.scaled.rows(first, last), labels, self.palette, self.background)
            picture[top:bottom] = part[top - first : bottom - first]
        return picture

    def save(
        self,
        folder: str | Path,
        *,
        overlay: bool = False,
        probability: bool = False,
        entropy: bool = False,
        disagreement: bool = False,
    ) -> list[Path]:
        """Write the mask, and what else is asked for, into ``folder``; return the paths.

        With the overlay goes a picture of the depth and what it changed, where ``without_depth`` is known.

        :mod:`segkit.prediction.writers` lists the names and formats; what is there under these names is replaced. A
        volume's have its own format and geometry, as :mod:`segkit.medical.writing` says.

        Raises:
            UsageError: ``disagreement`` of a single model, a class name that can't name a file, or no room or right to
                write there.
        """
        kinds = output_kinds(overlay=overlay, probability=probability, entropy=entropy, disagreement=disagreement)
        kinds += ["depth"] if overlay and self.without_depth is not None else []
        if disagreement and self.disagreement is None:
            raise UsageError("disagreement is between the members of an ensemble; this model has none")
        paths = output_paths(
            given_path(folder, "folder"),
            self.name,
            kinds,
            suffix=self._suffix,
            task=self.task,
            classes=self.classes,
            maps=len(self.probabilities),
        )
        for kind in kinds:
            with writing_to(paths[kind][0]):
                self._write(kind, paths[kind])
        return [path for kind in kinds for path in paths[kind]]

    @property
    def _suffix(self) -> str:
        """Of the file that it was made of, which outputs follow."""
        return self.source.suffix if self.source else ""

    def _write(self, kind: str, paths: tuple[Path, ...]) -> None:
        largest = maximum_entropy(self.task, len(self.probabilities))
        if kind == "mask" and self.task == "multilabel":
            for path, found, colour in zip(paths, self.labels, self.palette, strict=True):
                write_mask(path, found, np.stack([np.zeros(3, np.uint8), colour]), mpp=self.mpp)
        elif kind == "mask":
            write_mask(paths[0], self.labels, self.palette, mpp=self.mpp)
        elif kind == "overlay":
            write_picture(paths[0], self.overlay())
        elif kind == "depth" and self.depth is not None and self.without_depth is not None:
            before, after = self.without_depth, np.asarray(self.labels)
            write_picture(
                paths[0],
                draw_depth_and_change(self.image, self.depth, before, after, self.palette, self.background),
            )
        elif kind == "probability" and len(self.probabilities) > 1:
            write_pages(paths[0], self.probabilities, self.classes, mpp=self.mpp)
        elif kind == "probability":
            meaning = f"probability of {self.classes[-1]}"
            write_map(paths[0], self.probabilities[0], largest=1.0, meaning=meaning, mpp=self.mpp)
        elif kind == "entropy":
            write_map(paths[0], self.entropy, largest=largest, meaning="entropy in nats", mpp=self.mpp)
        elif self.disagreement is not None:
            write_map(paths[0], self.disagreement, largest=largest, meaning="disagreement in nats", mpp=self.mpp)


def output_kinds(*, overlay: bool, probability: bool, entropy: bool, disagreement: bool) -> list[str]:
    """The kinds of files asked for, the mask first."""
    asked = {"overlay": overlay, "probability": probability, "entropy": entropy, "disagreement": disagreement}
    return ["mask", *(kind for kind, wanted in asked.items() if wanted)]
