"""The picture of a training run: loss, score and learning rate over the epochs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from segkit.files import atomic_path


def draw_curves(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write a PNG with one panel each for loss, score (where validated) and learning rate.

    Args:
        rows: one an epoch, with ``epoch``, ``loss``, ``learning_rate``, ``score`` (or "") and ``score_name``.
        path: where the picture goes.
    """
    epochs = [row["epoch"] for row in rows]
    scored = [row for row in rows if row["score"] != ""]
    panels = [("loss", epochs, [row["loss"] for row in rows])]
    if scored:
        name = scored[-1]["score_name"]
        panels.append((name, [row["epoch"] for row in scored], [row["score"] for row in scored]))
    panels.append(("learning rate", epochs, [row["learning_rate"] for row in rows]))

    figure = Figure(figsize=(4.2 * len(panels), 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (title, x, y) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        axes.plot(x, y, color="#0072b2", linewidth=1.6, marker="o" if len(x) < 30 else None, markersize=3)
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("epoch", fontsize=9)
        axes.grid(alpha=0.3)
        axes.tick_params(labelsize=8)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110, format="png")
