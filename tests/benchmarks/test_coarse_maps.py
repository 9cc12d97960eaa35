"""The figures of coarse maps, worked out by hand."""

import importlib
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture
def coarse_maps(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    return importlib.import_module("coarse_maps")


def test_figures_of_four_cells(coarse_maps):
    p, t = np.array([[[0.9, 0.6], [0.2, 0.1]]]), np.array([[[1.0, 0.2], [0.5, 0.0]]])
    w = np.array([[[1.0, 1.0], [1.0, 0.5]]])
    # Cells called foreground: the first two; that are: the first and the third. Bins of a fifteenth hold one cell each.
    assert coarse_maps.figures(p, t, w) == {
        "dice": 0.5,
        "iou": round(1 / 3, 4),
        "share_dice": round(2 * (0.9 + 0.2 + 0.2) / (1.9 + 0.8 + 0.7 + 0.05), 4),
        "ece": round((0.1 + 0.4 + 0.3 + 0.05) / 3.5, 4),
        "share_error": round((0.1 + 0.4 + 0.3 + 0.05) / 3.5, 4),
    }


def test_errors_within_a_bin_cancel_in_the_calibration_error_alone(coarse_maps):
    p, t = np.array([0.5, 0.5]), np.array([0.0, 1.0])
    found = coarse_maps.figures(p, t, np.ones(2))
    assert (found["ece"], found["share_error"]) == (0.0, 0.5)


def test_what_is_not_defined_is_left_out(coarse_maps):
    found = coarse_maps.figures(np.zeros(4), np.zeros(4), np.ones(4))
    assert (found["dice"], found["iou"], found["share_dice"], found["ece"]) == (None, None, None, 0.0)
    table = coarse_maps.table({"a": found, "ensemble": found})
    assert table.splitlines()[2] == "| a |  |  |  | 0.0000 | 0.0000 |"
