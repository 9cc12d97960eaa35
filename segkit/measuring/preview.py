"""A small picture of what was found in a picture of any size, for people to look at."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from segkit.drawing.overlay import FILL, contour

if TYPE_CHECKING:
    from segkit.prediction.prediction import Prediction

LONGEST = 1024  # pixels along a preview's longer side
VALUES = 1 << 23  # of a picture looked at at a time


def draw_preview(prediction: "Prediction", longest: int = LONGEST) -> NDArray[np.uint8]:
    """The picture as RGB uint8 [h, w, 3], no side longer than ``longest``, with the classes filled and outlined.

    It is smaller by a whole number. A pixel has the mean colour of the picture's below it, and is tinted by the share
    of them that is of a class; outlined is what a class has half of. Drawn in parts: no more is held than the result.
    """
    height, width = prediction.scaled.size
    factor = -(-max(height, width) // longest)
    multilabel = prediction.task == "multilabel"
    size = (-(-height // factor), -(-width // factor))
    picture = np.empty((*size, 3), np.uint8)
    halves: dict[int, NDArray[np.bool_]] = {}
    together = max(1, VALUES // (width * factor))
    for top in range(0, size[0], together):
        rows = slice(top, min(top + together, size[0]))
        first, last = top * factor, min(rows.stop * factor, height)
        labels = np.asarray(prediction.labels[..., first:last, :])
        layers = {
            label: _means(area.astype(np.float32)[..., None], factor)[..., 0]
            for label, area in areas(labels, prediction.background, multilabel=multilabel)
        }
        image = _means(prediction.scaled.rows(first, last), factor)
        picture[rows] = filled(image, [(layers[label], prediction.palette[label]) for label in layers])
        for label, shares in layers.items():
            halves.setdefault(label, np.zeros(size, np.bool_))[rows] = shares >= 0.5
    return outlined(picture, [(halves[label], prediction.palette[label]) for label in sorted(halves)])


def areas(
    labels: NDArray[np.uint8], background: int | None, *, multilabel: bool
) -> Iterable[tuple[int, NDArray[np.bool_]]]:
    """Each class that labels show, but the background, and where: of ids […], or of 0/1 maps [K, …] for multilabel."""
    if multilabel:
        return [(k, found != 0) for k, found in enumerate(labels) if k != background and found.any()]
    return [(label, labels == label) for label in np.unique(labels).tolist() if label != background]


def filled(
    image: NDArray[np.float32], layers: Iterable[tuple[NDArray[np.float32], NDArray[np.uint8]]]
) -> NDArray[np.uint8]:
    """An image [H, W, C] in 0..1 as RGB uint8 [H, W, 3], each layer's colour over it by the layer's share [H, W]."""
    colours = image[..., :3] if image.shape[2] >= 3 else np.repeat(image[..., :1], 3, axis=2)
    picture = colours.clip(0, 1) * np.float32(255)
    for share, colour in layers:
        cover = FILL * share[..., None]
        picture = (1 - cover) * picture + cover * colour
    drawn: NDArray[np.uint8] = np.rint(picture).astype(np.uint8)
    return drawn


def outlined(
    picture: NDArray[np.uint8], layers: Iterable[tuple[NDArray[np.bool_], NDArray[np.uint8]]]
) -> NDArray[np.uint8]:
    """The same picture, the outline of each layer's area [H, W] drawn in the layer's colour."""
    for area, colour in layers:
        picture[contour(area)] = colour
    return picture


def _means(values: NDArray[Any], factor: int) -> NDArray[np.float32]:
    """Means of blocks of ``factor`` × ``factor``, smaller at the right and the bottom: [H, W, C] → [h, w, C]."""
    if factor == 1:
        return np.asarray(values, np.float32)
    height, width = values.shape[:2]
    rows, columns = np.arange(0, height, factor), np.arange(0, width, factor)
    sums = np.add.reduceat(np.add.reduceat(values, columns, axis=1, dtype=np.float32), rows, axis=0)
    counts = np.outer(np.diff(rows, append=height), np.diff(columns, append=width))
    means: NDArray[np.float32] = (sums / counts[..., None]).astype(np.float32)
    return means
