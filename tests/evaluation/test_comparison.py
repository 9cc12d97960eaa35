"""Comparisons: the same images for all, each against the first, saved with each one's own report."""

import csv
import dataclasses
import json
import re

import pytest

from segkit import Segmenter
from segkit.artifact import load
from segkit.errors import ModelError, UsageError
from segkit.evaluation import comparison as module
from segkit.evaluation.comparison import compare
from segkit.evaluation.report import evaluate
from segkit.evaluation.table import comparison_table


@pytest.fixture(scope="module")
def comparison(prepared):
    """An untrained ensemble against a second reader, whose masks are the truth."""
    return compare([prepared / "runs" / "demo" / "model", prepared / "second_reader"], prepared / "cells", "train")


def test_the_scores_are_those_of_each_report(comparison, prepared):
    first, second = comparison.reports
    (pair,) = comparison.pairs.values()
    alone = evaluate(prepared / "runs" / "demo" / "model", prepared / "cells", "train").metrics
    assert comparison.reports[first].metrics["pooled"] == alone["pooled"]
    row = pair["scores"][0]
    assert (row["first"], row["second"]) == (alone["pooled"]["per_class"]["cell"]["dice"], 1)
    assert row["difference"] == 1 - row["first"]
    assert [image["name"] for image in pair["images"]] == [image["name"] for image in alone["images"]]
    assert comparison.first == first == str(prepared / "runs" / "demo" / "model")
    assert second == str(prepared / "second_reader")


def test_the_table(comparison):
    lines = comparison.table().splitlines()
    assert lines[0].startswith("comparison on ")
    assert lines[2] == f"A: {comparison.first}"
    assert any(line.startswith("Dice of cell, pooled") for line in lines)
    assert any("A is better on 0 images" in line for line in lines)


def test_notes_on_any_of_the_models_stand_below_the_table_once(comparison):
    note = "the model takes depth, which is left out"
    models = {name: {**report.metrics, "notes": [note]} for name, report in comparison.reports.items()}
    table = comparison_table(models, comparison.pairs)
    assert table.startswith(comparison.table().partition("\nnote: ")[0].rstrip())
    assert table.endswith(f"\n\nnote: {note}")
    assert table.count(note) == 1


def test_what_is_saved(comparison, tmp_path):
    folder = comparison.save(tmp_path / "out")
    assert sorted(path.name for path in folder.iterdir()) == [
        "comparison.json",
        "index.html",
        "model_1",
        "model_2",
        "per_image.csv",
        "table.txt",
    ]
    (pair,) = json.loads((folder / "comparison.json").read_text())["pairs"].values()
    assert pair == next(iter(comparison.pairs.values()))
    with (folder / "per_image.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["image", *comparison.reports]
    assert rows[1][2] == "1.0"
    page = (folder / "index.html").read_text()
    for link in re.findall(r'href="([^"]+)"', page):
        assert (folder / link).is_file()
    assert "B is " in page


def test_three_models_in_memory_have_names_of_their_own(prepared):
    model = load(prepared / "runs" / "demo" / "model")
    calls = []
    found = compare(
        [model, *model.members], prepared / "cells", "val", progress=lambda done, total, _: calls.append((done, total))
    )
    assert list(found.reports) == ["demo", "model", "model 3"]
    assert list(found.pairs) == ["model", "model 3"]
    assert calls == [(1, 3), (2, 3), (3, 3)]
    assert found.pairs["model"]["scores"][0]["interval"] is None  # one image
    assert "only one image" in found.table()
    assert "of one image nothing more can be said" in found.page()


def test_what_can_not_be_compared(prepared):
    masks = prepared / "second_reader"
    with pytest.raises(UsageError, match="1 model given; a comparison takes two or more"):
        compare([masks], prepared / "cells")
    with pytest.raises(UsageError, match="second_reader is given twice"):
        compare([masks, masks], prepared / "cells")
    scored = []
    with pytest.raises(ModelError, match="no model there"):
        compare([masks, prepared / "nothing"], prepared / "cells", progress=lambda *call: scored.append(call))
    other = Segmenter.create({"name": "stem", "width": 4}, neck="unet", classes=["background", "a", "b"]).eval()
    with pytest.raises(ModelError, match="the model's task is multiclass, that of cells is binary"):
        compare([masks, other], prepared / "cells", progress=lambda *call: scored.append(call))
    assert scored == []  # it is said before the first one is scored


def test_models_that_are_scored_on_different_pixels_are_not_compared(prepared, comparison):
    first, second = list(comparison.reports.values())[:2]
    finer = dataclasses.replace(second, counts=16 * second.counts)
    with pytest.raises(UsageError, match=r"are scored on different pixels, as at two resolutions"):
        module._pair(first, finer)
