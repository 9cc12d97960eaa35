"""The picture of a training run: loss, score and learning rate over the epochs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from segkit.drawing.figure import save_figure

Line = Sequence[tuple[float, float]]
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")  # Okabe and Ito's, told apart by everyone


def draw_curves(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write a PNG with one panel each for loss, score (where validated) and learning rate.

    Args:
        rows: one an epoch, with ``epoch``, ``loss``, ``learning_rate``, ``score`` (or "") and ``score_name``.
        path: where the picture goes.
    """
    panels: dict[str, dict[str, Line]] = {"loss": {"": [(row["epoch"], row["loss"]) for row in rows]}}
    scored = [row for row in rows if row["score"] != ""]
    if scored:
        panels[scored[-1]["score_name"]] = {"": [(row["epoch"], row["score"]) for row in scored]}
    panels["learning rate"] = {"": [(row["epoch"], row["learning_rate"]) for row in rows]}
    draw_panels(panels, path)


def draw_panels(panels: Mapping[str, Mapping[str, Line]], path: Path) -> None:
    """Write a PNG of panels side by side, by title; in each its lines by name, (epoch, value) each.

    Where a panel has several lines, their names are shown.
    """
    figure = Figure(figsize=(4.2 * len(panels), 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (title, lines) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
        for colour, (name, line) in zip(COLOURS, lines.items(), strict=False):
            x, y = [epoch for epoch, _ in line], [value for _, value in line]
            marker = "o" if len(x) < 30 else None
            axes.plot(x, y, color=colour, linewidth=1.6, marker=marker, markersize=3, label=name)
        if len(lines) > 1:
            axes.legend(fontsize=8)
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("epoch", fontsize=9)
        axes.grid(alpha=0.3)
        axes.tick_params(labelsize=8)
    save_figure(figure, path)
