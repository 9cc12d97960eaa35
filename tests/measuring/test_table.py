import csv
import json

import numpy as np

from segkit.data.geometry import Geometry
from segkit.measuring.measures import measure
from segkit.measuring.table import ALWAYS, COLUMNS, CaseMeasures, columns_of, figures, rows_of, write_table

TRUST = {"predicted_dice": 0.91, "bound": 0.8, "verdict": "review", "unlike": ["darker than any"]}


def found(shape, **how):
    mask = np.zeros(shape, np.uint8)
    mask[(slice(0, 2),) * mask.ndim] = 1
    names = ["none", "lesion", "cyst"]
    return measure(mask, np.full((3, *shape), 1 / 3, np.float32), classes=names, task="multiclass", background=0, **how)


def test_figures_of_a_picture_without_and_with_a_spacing():
    assert figures(found((4, 5))) == {
        "lesion": {
            "pixels": 4,
            "share": 0.2,
            "components": 1,
            "largest_component_pixels": 4,
            "diameter_px": 1.41421,
            "mean_probability": 0.333333,
            "centroid_x_px": 0.5,
            "centroid_y_px": 0.5,
        },
        "cyst": {
            "pixels": 0,
            "share": 0.0,
            "components": 0,
            "largest_component_pixels": 0,
            "diameter_px": None,
            "mean_probability": None,
            "centroid_x_px": None,
            "centroid_y_px": None,
        },
    }
    spaced = figures(found((4, 5), spacing=(3, 4)))["lesion"]
    assert "diameter_px" not in spaced
    assert (spaced["area_mm2"], spaced["largest_component_mm2"], spaced["diameter_mm"]) == (48, 48, 5)


def test_figures_of_volumes_by_what_is_known_of_them():
    unspaced = figures(found((4, 5, 6)))["lesion"]
    assert list(unspaced) == [
        *("voxels", "share", "components", "largest_component_voxels"),
        *("mean_probability", "centroid_i", "centroid_j", "centroid_k"),
    ]
    spaced = figures(found((4, 5, 6), spacing=(3, 4, 12)))["lesion"]
    assert (spaced["volume_mm3"], spaced["volume_ml"], spaced["largest_component_ml"]) == (1152, 1.152, 1.152)
    assert spaced["diameter_mm"] == 13
    located = figures(found((4, 5, 6), geometry=Geometry((4, 5, 6), np.diag([3.0, 4.0, 12.0, 1.0]))))["lesion"]
    assert (located["diameter_mm"], located["axial_diameter_mm"]) == (13, 5)
    assert [located[f"centroid_{side}_mm"] for side in ("right", "front", "top")] == [1.5, 2, 6]


def test_a_row_is_a_case_and_a_class_or_a_case_without_a_mask():
    rows = rows_of(
        [
            CaseMeasures("a", figures(found((4, 5))), TRUST, notes=("read twice",)),
            CaseMeasures("b", figures(found((4, 5)))),
            CaseMeasures("c", error="c: cut short"),
        ]
    )
    assert [(row["case"], row["class"]) for row in rows] == [
        *(("a", "lesion"), ("a", "cyst"), ("b", "lesion"), ("b", "cyst"), ("c", None)),
    ]
    assert [row["verdict"] for row in rows] == ["review", "review", None, None, "failed"]
    assert [row["expected_dice"] for row in rows] == [0.91, 0.91, None, None, None]
    assert [row["notes"] for row in rows] == [*["read twice; darker than any"] * 2, "", "", "c: cut short"]


def test_what_is_not_known_of_a_class_is_said_in_its_row_alone():
    measures = figures(found((4, 5)))
    measures["cyst"]["notes"] = "too many pieces"
    assert [row["notes"] for row in rows_of([CaseMeasures("a", measures)])] == ["", "too many pieces"]


def test_the_files_hold_every_figure_and_say_what_it_is(tmp_path):
    cases = [
        CaseMeasures('a, "b"', figures(found((4, 5), spacing=(0.1, 0.3))), TRUST),
        CaseMeasures("täglich", figures(found((4, 5, 6)))),
        CaseMeasures("c", error="c: cut short\nin the middle"),
    ]
    rows = rows_of(cases)
    paths = write_table(tmp_path, rows)
    assert [path.name for path in paths] == ["measures.csv", "measures.json"]
    content = json.loads(paths[1].read_text("utf-8"))
    assert content["columns"] == {column: COLUMNS[column] for column in columns_of(rows)}
    assert content["rows"] == [{column: row.get(column) for column in content["columns"]} for row in rows]
    with paths[0].open(newline="", encoding="utf-8") as file:
        read = list(csv.DictReader(file))
    assert list(read[0]) == list(content["columns"])
    for line, row in zip(read, content["rows"], strict=True):
        assert line == {key: "" if value is None else str(value) for key, value in row.items()}


def test_what_a_manifest_brings_back_gives_the_same_files(tmp_path):
    measures = figures(found((40, 50), spacing=(0.1, 0.3)))
    write_table(tmp_path / "first", rows_of([CaseMeasures("a", measures)]))
    write_table(tmp_path / "again", rows_of([CaseMeasures("a", json.loads(json.dumps(measures)))]))
    for name in ("measures.csv", "measures.json"):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_every_key_has_its_column_and_a_table_of_nothing_has_headings(tmp_path):
    known = [found((4, 5)), found((4, 5), spacing=(1, 1)), found((4, 5, 6)), found((4, 5, 6), spacing=(1, 1, 1))]
    known += [found((4, 5, 6), geometry=Geometry((4, 5, 6), np.eye(4)))]
    keys = {key for measures in known for row in rows_of([CaseMeasures("a", figures(measures))]) for key in row}
    assert keys == set(COLUMNS)
    table, _ = write_table(tmp_path, [])
    assert table.read_text() == ",".join(ALWAYS) + "\n" or table.read_bytes() == (",".join(ALWAYS) + "\r\n").encode()
