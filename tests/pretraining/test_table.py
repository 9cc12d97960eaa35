"""The table of a pretraining run."""

import csv
import json

import pytest

from segkit.pretraining.table import PretrainTable, _panels

ROW = {"epoch": 1, "updates": 4, "seconds": 1.0, "learning_rate": 0.1, "loss": 2.0, "train_top1": 0.5}
VALIDATED = {"validation_loss": 1.5, "top1": 0.25, "top5": 0.75, "margin": 3.0}


def test_columns_that_come_later_are_empty_before(tmp_path):
    table = PretrainTable(tmp_path, print)
    table.rows = [ROW, {**ROW, "epoch": 2, **VALIDATED}]
    table.write()
    first, second = csv.DictReader((tmp_path / "metrics.csv").open())
    assert (first["top1"], second["top1"]) == ("", "0.25")
    assert json.loads((tmp_path / "metrics.json").read_text()) == {"epochs": table.rows, "final": None}


def test_json_stays_json_where_a_figure_is_not_finite(tmp_path):
    table = PretrainTable(tmp_path, print)
    table.rows, table.final = [{**ROW, "validation_loss": float("nan")}], {"top1": 0.5, "loss": float("inf")}
    table.write()
    content = json.loads((tmp_path / "metrics.json").read_text(), parse_constant=pytest.fail)
    assert content["epochs"][0]["validation_loss"] is None
    assert content["final"] == {"top1": 0.5, "loss": None}


def test_losses_share_a_panel_and_shares_another():
    panels = _panels([ROW, {**ROW, "epoch": 2, **VALIDATED}])
    assert panels == {
        "loss": {"training": [(1, 2.0), (2, 2.0)], "validation": [(2, 1.5)]},
        "share that is right": {"top1": [(2, 0.25)], "top5": [(2, 0.75)], "train_top1": [(1, 0.5), (2, 0.5)]},
        "margin": {"": [(2, 3.0)]},
        "learning rate": {"": [(1, 0.1), (2, 0.1)]},
    }


def test_the_curves_are_a_picture(tmp_path):
    table = PretrainTable(tmp_path, print)
    table.draw()
    assert not (tmp_path / "curves.png").exists()
    table.rows = [ROW]
    table.draw()
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
