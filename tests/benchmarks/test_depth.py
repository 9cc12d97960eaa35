"""What the benchmarks of depth count and spoil, worked out by hand."""

import importlib
import json
import sys
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import segkit
from segkit.artifact import save
from segkit.data.synthetic import draw_cells
from segkit.errors import UsageError
from segkit.model import Segmenter


@pytest.fixture
def benchmark_of(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    return importlib.import_module


def test_scores_of_two_pictures(benchmark_of):
    accuracy = benchmark_of("depth_accuracy")
    truth = np.array([[1, 1, 0, 0, 255]], np.uint8)
    p = np.array([[[0.8, 0.4, 0.6, 0.1, 0.9]]])
    labels = (p[0] >= 0.5).astype(np.uint8)
    row = accuracy.counts_of(p, labels, truth, 2)
    nats = -np.log([0.8, 0.4, 0.4, 0.9]).sum()
    np.testing.assert_allclose(row, [1, 1, 1, 1, nats, 4])  # TN, FP, FN, TP
    found = accuracy.scores_of(2 * row, [1])
    np.testing.assert_allclose([found["iou"], found["f1"], found["nll"]], [1 / 3, 1 / 2, nats / 4])
    both = accuracy.scores_of(row, [0, 1])
    np.testing.assert_allclose(both["iou"], 1 / 3)


def test_nats_of_several_classes_are_of_the_true_one(benchmark_of):
    p = np.array([[[0.2, 0.1]], [[0.5, 0.1]], [[0.3, 0.8]]])
    row = benchmark_of("depth_accuracy").counts_of(p, p.argmax(0), np.array([[1, 0]]), 3)
    np.testing.assert_allclose(row, [0, 0, 1, 0, 1, 0, 0, 0, 0, -np.log(0.5 * 0.1), 2])


def test_a_difference_that_every_picture_has_is_sure(benchmark_of):
    worse, better = np.array([5.0, 1, 2, 2, 3, 10]), np.array([5.0, 1, 1, 3, 2, 10])
    rows = [np.broadcast_to(row, (2, 6, 6)) for row in (worse, better)]  # seeds, pictures
    found = benchmark_of("depth_accuracy").paired(*rows, [1])
    assert (found["iou"], found["iou interval"]) == (0.2, [0.2, 0.2])
    assert (found["nll"], found["nll interval"]) == (-0.1, [-0.1, -0.1])


def test_holes_are_filled_by_what_is_nearest(benchmark_of):
    values = np.array([[7, 0, 0, 0, 9]], np.uint16)
    assert benchmark_of("depth_folders").filled(values)[0, [0, 1, 3, 4]].tolist() == [7, 7, 9, 9]


def test_holes_grow_and_leave_what_was_not_measured(benchmark_of):
    robustness = benchmark_of("depth_robustness")
    depth = np.ones((16, 24, 2), np.float32)
    depth[:4] = 0
    for block in (1, 4):
        left = [
            robustness.with_holes(depth.copy(), share, block, np.random.default_rng(0)) for share in (0, 0.25, 0.5, 1)
        ]
        assert [int(each[..., 1].sum()) for each in left] == [288, 216, 144, 0]
        assert all((fewer <= more).all() for more, fewer in pairwise(left))
    tiles = left[1][..., 1].reshape(4, 4, 6, 4).sum((1, 3))
    assert set(tiles[1:].ravel().tolist()) <= {0, 8, 16}  # of 4.5 blocks half a one


def test_noise_and_shift_keep_validity_in_step(benchmark_of):
    robustness = benchmark_of("depth_robustness")
    depth = np.zeros((40, 50, 2), np.float32)
    depth[10:, :, 0] = np.linspace(1, 3, 50)
    depth[10:, :, 1] = 1
    noisy = robustness.with_noise(depth.copy(), 0.1, np.random.default_rng(0), metric=True)
    assert not noisy[:10].any()
    added = (noisy - depth)[10:, :, 0]
    assert added.std() == pytest.approx(0.1 * depth[10:, :, 0].std(), rel=0.05)
    assert robustness.with_noise(depth.copy(), 50, np.random.default_rng(0), metric=True)[10:, :, 0].min() > 0
    moved = robustness.shifted(depth, 3)
    assert not moved[:, :3].any()
    assert np.array_equal(moved[:, 3:], depth[:, :-3])


def test_a_model_is_scored_at_every_step_and_drawn(benchmark_of, tmp_path, monkeypatch, capsys):
    robustness = benchmark_of("depth_robustness")
    data = draw_cells(tmp_path / "cells", images=6, size=48, splits=(0.4, 0.2, 0.4))
    stem = {"name": "stem", "width": 4, "depth": 2}
    model = Segmenter.create(stem, neck="fpn", classes=segkit.open_dataset(data).classes, depth=stem)
    save(model.eval(), tmp_path / "model")
    found = robustness.robustness(tmp_path / "model", data)
    assert {title: len(curve["score"]) for title, curve in found["curves"].items()} == {
        "holes at random": 7,
        "holes in blocks": 7,
        "noise": 6,
        "shift in pixels": 6,
    }
    first = {curve["score"][0] for curve in found["curves"].values()}
    assert first == {round(next(iter(segkit.evaluate(model, data).headline().values())), 4)}
    robustness.draw({"one": found, "other": found}, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 10_000
    save(Segmenter.create(stem, neck="fpn", classes=segkit.open_dataset(data).classes).eval(), tmp_path / "colour")
    with pytest.raises(UsageError, match="takes images alone; there is no depth to make worse"):
        robustness.robustness(tmp_path / "colour", data)
    monkeypatch.setattr(robustness, "RESULTS", tmp_path / "results.json")
    monkeypatch.setattr(robustness, "PICTURE", tmp_path / "all.png")
    (tmp_path / "results.json").write_text(json.dumps({"one": found}))
    monkeypatch.setattr(sys, "argv", ["depth_robustness.py", str(data), "one=nowhere"])  # it is not scored again
    robustness.main()
    assert (tmp_path / "all.png").is_file()
    assert "one, shift in pixels: 0: " in capsys.readouterr().out


def test_a_training_that_was_stopped_is_no_result(benchmark_of):
    whole = benchmark_of("whole_run").whole
    ended, stopped = (SimpleNamespace(directory=Path("runs/one"), interrupted=each) for each in (False, True))
    assert whole(ended) is ended
    with pytest.raises(SystemExit, match="runs/one: stopped early; the same command goes on"):
        whole(stopped)
