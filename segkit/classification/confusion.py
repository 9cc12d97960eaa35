"""Which class is taken for which: the confusion matrix, as numbers, a table and a picture."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from segkit.drawing.figure import save_figure
from segkit.files import atomic_path

Matrix = NDArray[np.int64]

NUMBERED = 20  # classes; of more the cells are too small for numbers
NAMED = 60  # and of more than these the lines are too narrow for names
LONGEST = 24  # letters of a name in a picture


def confusion_matrix(labels: NDArray[np.int64], predicted: NDArray[np.int64], classes: int) -> Matrix:
    """How many images of each true class (row) were given each class (column), int64 [K, K]."""
    return np.bincount(labels * classes + predicted, minlength=classes**2).reshape(classes, classes).astype(np.int64)


def write_confusion(matrix: Matrix, classes: Sequence[str], path: Path) -> None:
    """Write a CSV: a row a true class, a column for each class that was given."""
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["true \\ predicted", *classes])
        for name, row in zip(classes, matrix.tolist(), strict=True):
            writer.writerow([name, *row])


def draw_confusion(matrix: Matrix, classes: Sequence[str], path: Path) -> None:
    """Write a PNG: the darker a cell, the larger its share of the true class's images.

    Up to 20 classes the cells hold the numbers of images, and up to 60 every line has its name.
    """
    count = len(classes)
    shares = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    named, numbered = count <= NAMED, count <= NUMBERED
    side = 1.6 + (0.5 * count if numbered else 0.16 * count if named else 7.0)
    figure = Figure(figsize=(side + 2.2, side + 1.4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    shown = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    small = 9 if numbered else 6.5
    if named:
        names = [short_name(name) for name in classes]
        axes.set_xticks(range(count), names, rotation=90 if max(map(len, names)) > 3 else 0, fontsize=small)
        axes.set_yticks(range(count), names, fontsize=small)
    if numbered:
        for row, column in np.ndindex(count, count):
            if matrix[row, column]:
                colour = "white" if shares[row, column] > 0.55 else "black"
                text = f"{matrix[row, column]}"
                axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=9 - (len(text) > 4) * 2)
    axes.set_xlabel("predicted class" if named else "predicted class, by id", fontsize=10)
    axes.set_ylabel("true class" if named else "true class, by id", fontsize=10)
    bar = figure.colorbar(shown, ax=axes, shrink=0.6)
    bar.set_label("share of the true class's images", fontsize=9)
    bar.ax.tick_params(labelsize=8)
    save_figure(figure, path)


def short_name(name: str) -> str:
    """A name that fits beside an axis; a dollar sign would begin a formula."""
    return (name if len(name) <= LONGEST else name[: LONGEST - 1] + "…").replace("$", r"\$")
