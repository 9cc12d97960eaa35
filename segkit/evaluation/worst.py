"""The images with the lowest scores, drawn small: picture, truth, prediction, errors and uncertainty."""

from bisect import insort
from collections.abc import Mapping
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from segkit.data.masks import IGNORE
from segkit.drawing.error_picture import IGNORED, draw_errors
from segkit.drawing.heat import draw_heat
from segkit.drawing.overlay import draw_overlay
from segkit.evaluation.looks import Look

COUNT, SIDE = 5, 480  # how many, and the longest side of their pictures in pixels

Picture = NDArray[np.uint8]


@dataclass(frozen=True, order=True)
class Example:
    """One image with its score, in the order of the scores, and its pictures, uint8 RGB [h, w, 3], by caption."""

    score: float
    index: int
    name: str = field(compare=False)
    pictures: Mapping[str, Picture] = field(compare=False)


class Worst:
    """Keeps the images with the lowest scores, lowest first; only those that get among them are drawn.

    Args:
        palette: colours of the classes, uint8 [labels, 3].
        background: id of the background, if any; 0 for binary.
        count: how many are kept.
    """

    def __init__(self, palette: NDArray[np.uint8], background: int | None, count: int = COUNT) -> None:
        self.examples: list[Example] = []
        self._palette, self._background, self._count, self._seen = palette, background, count, 0

    def offer(self, score: float, look: Look) -> None:
        """Keep an image if it is among the worst so far; one whose score is undefined (NaN) never is."""
        self._seen += 1
        if np.isnan(score) or (len(self.examples) == self._count and score >= self.examples[-1].score):
            return
        pictures = {caption: shrunk(picture) for caption, picture in self._draw(look).items()}
        insort(self.examples, Example(score, self._seen, look.sample.name, pictures))
        del self.examples[self._count :]

    def _draw(self, look: Look) -> dict[str, Picture]:
        image, labels, truth = look.picture(), look.cut(look.labels[0]), look.cut(look.target)
        palette = np.full((256, 3), IGNORED, np.uint8)  # what is ignored is grey, also in given masks
        palette[: len(self._palette)] = self._palette
        target, colours = truth, palette
        if labels.ndim == 3:
            target, colours = np.where(target == IGNORE, np.uint8(0), target), self._palette
        pictures = {
            "picture": draw_overlay(image, np.zeros((0, *image.shape[:2]), np.uint8), self._palette[:0], None),
            "truth": draw_overlay(image, target, colours, self._background),
            "prediction": draw_overlay(image, labels, colours, self._background),
            "errors": draw_errors(labels, truth, self._background),
        }
        if look.entropy is not None:
            pictures["uncertainty"] = draw_heat(np.divide(look.cut(look.entropy), 255, dtype=np.float32))
        return pictures


def shrunk(picture: Picture, side: int = SIDE) -> Picture:
    """The picture at most ``side`` pixels long, each pixel the mean of those it stands for; a smaller one as it is."""
    longest = max(picture.shape[:2])
    if longest <= side:
        return picture
    height, width = (max(1, round(length * side / longest)) for length in picture.shape[:2])
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
