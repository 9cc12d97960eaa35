"""A pretraining run's table as CSV and JSON, and its curves."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from segkit.files import atomic_path
from segkit.training.curves import Line, draw_panels
from segkit.training.progress import EpochTable

SHARES = ("top1", "top5", "train_top1")
PLAIN = ("epoch", "updates", "seconds", "images_per_second")  # what no panel is of


class PretrainTable(EpochTable):
    """One row an epoch in ``metrics.csv``, in ``metrics.json`` and in the log, curves in ``curves.png``.

    ``metrics.json`` holds the rows as ``epochs``, and as ``final`` the validation's figures of the weights that are
    kept, where the run is over.

    Args:
        directory: for the files.
        say: told each row.
    """

    def __init__(self, directory: Path, say: Callable[[str], None]) -> None:
        super().__init__(directory, say)
        self.final: dict[str, float] | None = None

    def write(self) -> None:
        """Write both tables anew."""
        super().write()
        with atomic_path(self.directory / "metrics.json") as temporary:
            content = {"epochs": [_finite(row) for row in self.rows], "final": _finite(self.final or {}) or None}
            temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")

    def draw(self) -> None:
        """Write the curves of the rows so far: losses together, shares together, everything else by itself."""
        if self.rows:
            draw_panels(_panels(self.rows), self.directory / "curves.png")


def _finite(figures: Mapping[str, Any]) -> dict[str, Any]:
    """JSON has no word for what is not finite: null."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in figures.items()
    }


def _panels(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Line]]:
    names = list(dict.fromkeys(name for row in rows for name in row if name not in PLAIN))
    lines: dict[str, Line] = {
        name: [(row["epoch"], row[name]) for row in rows if isinstance(row.get(name), int | float)] for name in names
    }
    panels: dict[str, dict[str, Line]] = {"loss": {"training": lines["loss"]}}
    if "validation_loss" in lines:
        panels["loss"]["validation"] = lines["validation_loss"]
    shares = {name: lines[name] for name in SHARES if name in lines}
    if shares:
        panels["share that is right"] = shares
    for name in (*names, "learning_rate"):
        if name not in ("loss", "validation_loss", "learning_rate", *shares):
            panels[name.replace("_", " ")] = {"": lines[name]}
    panels["learning rate"] = {"": lines["learning_rate"]}
    return panels
