"""The images that a classifier gave the least probability to what they are, as a picture."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from segkit.classification.confusion import short_name
from segkit.drawing.figure import save_figure

SHOWN = 16
COLUMNS = 4
WRONG, RIGHT = "#b3261e", "#2e7d32"


@dataclass(frozen=True)
class WorstImage:
    """One image, what it is and what it was taken for.

    Attributes:
        name: of the image.
        pixels: what the model saw, uint8 [H, W, C].
        true, predicted: names of its class and of the most probable one.
        probability: given to its class.
        confidence: given to the most probable one.
    """

    name: str
    pixels: NDArray[np.uint8]
    true: str
    predicted: str
    probability: float
    confidence: float


def draw_worst(images: Sequence[WorstImage], path: Path) -> None:
    """Write a PNG of the images in the order given: above each what it is, and what it was taken for."""
    rows = -(-len(images) // COLUMNS)
    figure = Figure(figsize=(2.5 * COLUMNS, 2.95 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    places = list(figure.subplots(rows, COLUMNS, squeeze=False).flat)
    for axes in places:
        axes.set_axis_off()
    for axes, image in zip(places, images, strict=False):
        pixels = image.pixels if image.pixels.shape[2] in (1, 3) else image.pixels[..., :1]
        grey = pixels.shape[2] == 1
        small = max(pixels.shape[:2]) < 128
        axes.imshow(
            pixels[..., 0] if grey else pixels,
            cmap="gray" if grey else None,
            vmin=0,
            vmax=255,
            interpolation="nearest" if small else "antialiased",
        )
        right = image.true == image.predicted
        said = "recognised" if right else f"taken for {short_name(image.predicted)} {image.confidence:.3f}"
        title = f"{short_name(image.true)} {image.probability:.3f}\n{said}"
        axes.set_title(title, fontsize=9, color=RIGHT if right else WRONG)
    save_figure(figure, path)
