"""The labels of many images as files: a table for people and programs, and JSON with everything."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from segkit.classification.prediction import BEST, ImageLabel
from segkit.files import atomic_path, write_whole
from segkit.given_path import spelled

CSV, JSON = "predictions.csv", "predictions.json"  # a dataset's own labels are in labels.csv


def label_row(found: ImageLabel) -> dict[str, Any]:
    """One image's, ready for JSON: file, label, probability, the five most probable classes, and the error if any."""
    best = [{"label": name, "probability": probability} for name, probability in found.best()]
    return {
        "file": spelled(found.name),
        "label": found.label,
        "probability": found.probability,
        "best": best,
        "error": found.error,
    }


def write_labels(found: Sequence[ImageLabel], folder: Path) -> None:
    """Write ``predictions.csv`` and ``predictions.json`` into ``folder``.

    The table has ``file``, ``label``, ``probability``, then ``label_2``, ``probability_2`` and so on, as far as there
    are classes, up to the fifth, and ``error``; a file that couldn't be read has only that.
    """
    count = min(BEST, max((len(each.classes) for each in found), default=0))
    further = [column for place in range(2, count + 1) for column in (f"label_{place}", f"probability_{place}")]
    with atomic_path(folder / CSV) as path, path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "label", "probability", *further, "error"])
        for each in found:
            cells = [cell for name, probability in each.best() for cell in (name, f"{probability:.6g}")]
            writer.writerow([spelled(each.name), *(cells or [""] * (2 * count)), each.error or ""])
    write_whole(folder / JSON, json.dumps([label_row(each) for each in found], indent=2))
