"""The measures of all cases of a run in one table: a CSV for spreadsheets, and a JSON file for programs."""

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segkit.files import atomic_path, write_whole
from segkit.measuring.measures import ClassMeasures

Figures = Mapping[str, Mapping[str, Any]]
"""Figures of each class, by its name, ready for JSON; a figure's key is its column in the table."""

COLUMNS = {
    "case": "name of the picture or volume, that its outputs are named after",
    "class": "empty where there is no mask",
    "pixels": "pixels of the class",
    "voxels": "voxels of the class",
    "share": "of all pixels or voxels, 0..1",
    "area_mm2": "pixels times the area of one",
    "volume_ml": "voxels times the volume of one",
    "volume_mm3": "the same in cubic millimetres",
    "components": "pieces whose pixels touch by a side, an edge or a corner",
    "largest_component_pixels": "pixels of the largest piece",
    "largest_component_voxels": "voxels of the largest piece",
    "largest_component_mm2": "its area",
    "largest_component_ml": "its volume",
    "diameter_px": "largest distance between the centres of two pixels of one piece",
    "diameter_mm": "largest distance between the centres of two pixels or voxels of one piece, in any direction",
    "axial_diameter_mm": "largest distance between the centres of two voxels of one piece within one axial slice",
    "mean_probability": "of the class, over its own pixels",
    "centroid_x_px": "mean place of its pixels, from the left; 0 is the centre of the first",
    "centroid_y_px": "the same from the top",
    "centroid_i": "mean place of its voxels along the first axis of the array; 0 is the centre of the first",
    "centroid_j": "the same along the second",
    "centroid_k": "the same along the third",
    "centroid_right_mm": "mean place of its voxels in the patient, to the right (R of RAS)",
    "centroid_front_mm": "the same to the front (A)",
    "centroid_top_mm": "the same to the head (S)",
    "verdict": "accept or review, by a model that was taught to judge its predictions; failed where there is no mask",
    "expected_dice": "of the whole case, as such a model expects it",
    "notes": "why a figure is missing, what the case is unlike, what was decided on reading it, or what went wrong",
}
"""The columns of the table, in their order, and what is in them; a run's table has those that fit its cases."""

ALWAYS = ("case", "class", "verdict", "expected_dice", "notes")
FAILED = "failed"
DIGITS = 6  # significant ones of what is no whole number


@dataclass(frozen=True)
class CaseMeasures:
    """What a run has to say of one picture or volume.

    Attributes:
        name: that its outputs are named after; it identifies nobody.
        measures: what :func:`figures` gave; None where there is no mask.
        trust: what ``Trust.figures`` gave; None where the model wasn't taught it.
        notes: what was decided on reading it.
        error: one line that says why there is no mask; None where there is one.
        preview: its picture, a file below the run's folder; None where there is none.
    """

    name: str
    measures: Figures | None = None
    trust: Mapping[str, Any] | None = None
    notes: tuple[str, ...] = ()
    error: str | None = None
    preview: Path | None = None

    @property
    def verdict(self) -> str | None:
        """``accept``, ``review`` or ``failed``; None where nobody judged."""
        if self.error is not None:
            return FAILED
        return None if self.trust is None else str(self.trust["verdict"])


def figures(measures: Iterable[ClassMeasures]) -> dict[str, dict[str, Any]]:
    """The measures of a case by the class's name, as numbers that JSON brings back as they are; None where undefined.

    Which keys there are depends on the kind of the case alone, not on what was found.
    """
    return {each.name: _figures(each) for each in measures}


def rows_of(cases: Iterable[CaseMeasures]) -> list[dict[str, Any]]:
    """A row for each case and class, in their order, and one for a case without a mask; keys are from ``COLUMNS``."""
    rows = []
    for case in cases:
        trust = case.trust or {}
        judged = {"verdict": case.verdict, "expected_dice": trust.get("predicted_dice")}
        if case.measures is None:
            notes = [*case.notes, *([] if case.error is None else [case.error])]
            rows.append({"case": case.name, "class": None, **judged, "notes": "; ".join(notes)})
            continue
        for name, each in case.measures.items():
            values = {key: value for key, value in each.items() if key != "notes"}
            notes = [*case.notes, *trust.get("unlike", ()), *([each["notes"]] if each.get("notes") else [])]
            rows.append({"case": case.name, "class": name, **values, **judged, "notes": "; ".join(notes)})
    return rows


def columns_of(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Those of ``COLUMNS`` that a table of these rows has."""
    return [column for column in COLUMNS if column in ALWAYS or any(column in row for row in rows)]


def write_table(folder: str | Path, rows: Sequence[Mapping[str, Any]]) -> list[Path]:
    """Write ``measures.csv`` and ``measures.json`` into a folder; return their paths.

    The JSON has what each column means under ``columns``, and under ``rows`` a value for each of them in every row,
    null where there is none; in the CSV that is an empty field.

    Raises:
        UsageError: there is no room, or the folder can't be written to.
    """
    columns = columns_of(rows)
    complete = [{column: row.get(column) for column in columns} for row in rows]
    paths = [Path(folder) / "measures.csv", Path(folder) / "measures.json"]
    with atomic_path(paths[0]) as path, path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(complete)
    content = {"columns": {column: COLUMNS[column] for column in columns}, "rows": complete}
    write_whole(paths[1], json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    return paths


def _figures(measures: ClassMeasures) -> dict[str, Any]:
    volume = measures.dimensions == 3
    unit = "voxels" if volume else "pixels"
    found: dict[str, Any] = {unit: measures.count, "share": measures.share}
    if measures.unit_size is not None:
        size = measures.count * measures.unit_size
        found |= {"volume_ml": size / 1000, "volume_mm3": size} if volume else {"area_mm2": size}
    found |= {"components": measures.components, f"largest_component_{unit}": measures.largest}
    if measures.unit_size is not None:
        largest = None if measures.largest is None else measures.largest * measures.unit_size
        if volume:
            found["largest_component_ml"] = None if largest is None else largest / 1000
        else:
            found["largest_component_mm2"] = largest
        found["diameter_mm"] = measures.diameter
    elif not volume:
        found["diameter_px"] = measures.diameter
    if measures.located:
        found["axial_diameter_mm"] = measures.axial_diameter
    found["mean_probability"] = measures.mean_probability
    found |= dict(zip(_centroid(measures), measures.centroid or (None,) * measures.dimensions, strict=True))
    if measures.note is not None:
        found["notes"] = measures.note
    return {key: _rounded(value) for key, value in found.items()}


def _centroid(measures: ClassMeasures) -> tuple[str, ...]:
    if measures.dimensions == 2:
        return ("centroid_x_px", "centroid_y_px")
    if measures.located:
        return ("centroid_right_mm", "centroid_front_mm", "centroid_top_mm")
    return ("centroid_i", "centroid_j", "centroid_k")


def _rounded(value: Any) -> Any:
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value
