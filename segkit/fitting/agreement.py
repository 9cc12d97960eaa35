"""How far an ensemble's members agree, pair by pair."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from segkit.data.masks import IGNORE
from segkit.drawing.figure import save_figure
from segkit.ensemble import Ensemble
from segkit.fitting.heldout import HeldOut
from segkit.labels import labels_of, threshold_at
from segkit.prediction.settings import settings_for

Array = NDArray[np.float64]

BRIGHT = 0.6  # from here on numbers are written in black


def agreement(ensemble: Ensemble, pictures: Sequence[HeldOut]) -> list[list[float]]:
    """Cohen's kappa of each pair's labels on pixels that count, [M][M]; of a multilabel task over all its maps."""
    threshold = threshold_at(settings_for(ensemble).threshold, 1 / ensemble.temperature)  # before the whole's
    classes = max(2, ensemble.maps)
    count = len(ensemble.members)
    tables: Array = np.zeros((count, count, classes, classes))
    for picture in pictures:
        counted = picture.target.numpy() != IGNORE
        labels = [
            labels_of(picture.members[i].numpy(), ensemble.task, threshold)[counted].astype(np.int64)
            for i in range(count)
        ]
        for i in range(count):
            for j in range(count):
                pairs = np.bincount(labels[i] * classes + labels[j], minlength=classes**2)
                tables[i, j] += pairs.reshape(classes, classes)
    return [[kappa(tables[i, j]) for j in range(count)] for i in range(count)]


def kappa(table: Array) -> float:
    """Cohen's kappa (1960) of a table of pairs of labels [K, K]; 1 where both always give the same one label."""
    total = table.sum()
    observed = np.trace(table) / total if total else 1.0
    by_chance = float(table.sum(0) @ table.sum(1)) / total**2 if total else 0.0
    return 1.0 if by_chance == 1 else float((observed - by_chance) / (1 - by_chance))


def draw_agreement(table: Sequence[Sequence[float]], names: Sequence[str], title: str, path: Path) -> None:
    """Write a PNG of the table [M][M], a coloured square a pair, with its number."""
    side = max(3.2, 0.7 * len(names) + 2)
    figure = Figure(figsize=(side + 0.8, side), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    image = axes.imshow(table, vmin=0, vmax=1, cmap="viridis")
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
    axes.set_yticks(range(len(names)), names)
    for (row, column), value in np.ndenumerate(np.array(table)):
        colour = "black" if value > BRIGHT else "white"
        axes.text(column, row, f"{value:.2f}", ha="center", va="center", color=colour)
    figure.colorbar(image, label="Cohen's kappa", shrink=0.8)
    axes.set_title(title, fontsize="medium")
    save_figure(figure, path, dpi=150)
