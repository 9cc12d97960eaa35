"""Calibration's figures by hand, and those of torchmetrics and scikit-learn where these are right."""

import json
import math

import numpy as np
import pytest
import torch
import torchmetrics.functional.classification as reference
from sklearn.metrics import brier_score_loss, log_loss

from segkit.evaluation.calibration import SMALLEST, Calibration


def computed(task, probabilities, target, classes=(), **options):
    calibration = Calibration(task, len(probabilities), **options)
    calibration.update(np.asarray(probabilities, np.float32), np.asarray(target, np.uint8))
    return calibration.compute(classes)


def random_pixels(maps, seed=0):
    """Probabilities [K, 40, 50] and a target with a tenth of its pixels ignored."""
    generator = np.random.default_rng(seed)
    logits = 2 * generator.standard_normal((maps, 40, 50))
    if maps == 1:
        probabilities, target = 1 / (1 + np.exp(-logits)), generator.integers(0, 2, (40, 50))
    else:
        probabilities, target = np.exp(logits) / np.exp(logits).sum(0), generator.integers(0, maps, (40, 50))
    target[generator.random(target.shape) < 0.1] = 255
    return probabilities.astype(np.float32), target.astype(np.uint8)


def test_four_pixels_by_hand():
    # Two bins: 0.2 and 0.4 with one foreground of two, 0.9 with one of one; 0.8 is ignored.
    found = computed("binary", [[[0.2, 0.4, 0.9, 0.8]]], [[0, 1, 1, 255]], bins=2)
    assert found["ece"] == pytest.approx((2 * abs(0.3 - 0.5) + abs(0.9 - 1)) / 3)
    assert found["brier"] == pytest.approx((0.2**2 + 0.6**2 + 0.1**2) / 3)
    assert found["nll"] == pytest.approx(-(math.log(0.8) + math.log(0.4) + math.log(0.9)) / 3)
    low, high = found["bins"]
    assert (low["from"], low["to"], low["pixels"], low["right"]) == (0, 0.5, 2, 0.5)
    assert low["confidence"] == pytest.approx(0.3)
    assert high["pixels"] == 1


def test_a_multiclass_pixel_is_judged_by_its_most_probable_class():
    found = computed("multiclass", [[[0.7, 0.2]], [[0.2, 0.3]], [[0.1, 0.5]]], [[0, 1]], bins=1)
    assert found["ece"] == pytest.approx(abs((0.7 + 0.5) / 2 - 1 / 2))
    assert found["brier"] == pytest.approx(((0.3**2 + 0.2**2 + 0.1**2) + (0.2**2 + 0.7**2 + 0.5**2)) / 2)
    assert found["nll"] == pytest.approx(-(math.log(0.7) + math.log(0.3)) / 2)


def test_binary_figures_are_those_of_torchmetrics_and_scikit_learn():
    probabilities, target = random_pixels(1)
    found, counted = computed("binary", probabilities, target), target != 255
    ours = torch.tensor(probabilities[0]), torch.tensor(target).long()
    ece = reference.binary_calibration_error(*ours, n_bins=15, norm="l1", ignore_index=255)
    assert found["ece"] == pytest.approx(ece.item(), abs=1e-6)
    assert found["brier"] == pytest.approx(brier_score_loss(target[counted], probabilities[0][counted]))
    assert found["nll"] == pytest.approx(log_loss(target[counted], probabilities[0][counted].astype(float)))


def test_multiclass_figures_are_those_of_torchmetrics_and_scikit_learn():
    probabilities, target = random_pixels(4)
    found, counted = computed("multiclass", probabilities, target), target != 255
    ours = torch.tensor(probabilities)[None], torch.tensor(target)[None].long()
    ece = reference.multiclass_calibration_error(*ours, num_classes=4, n_bins=15, norm="l1", ignore_index=255)
    assert found["ece"] == pytest.approx(ece.item(), abs=1e-6)
    rows = probabilities[:, counted].T.astype(float)
    rows /= rows.sum(1, keepdims=True)
    one_hot = np.eye(4)[target[counted]]
    assert found["brier"] == pytest.approx(((rows - one_hot) ** 2).sum(1).mean())
    assert found["nll"] == pytest.approx(log_loss(target[counted], rows), abs=1e-6)


def test_rows_added_one_after_the_other_make_the_whole():
    probabilities, target = random_pixels(4)
    whole, parts = Calibration("multiclass", 4), Calibration("multiclass", 4)
    whole.update(probabilities, target)
    for rows in (slice(0, 7), slice(7, 40)):
        parts.update(probabilities[:, rows], target[rows])
    for key in ("ece", "brier", "nll"):
        assert parts.compute(())[key] == pytest.approx(whole.compute(())[key])


def test_every_class_of_a_multilabel_task_by_itself_and_their_mean():
    maps = np.array([[[0.9, 0.1]], [[0.5, 0.5]]], np.float32)
    found = computed("multilabel", maps, [[[1, 0]], [[1, 255]]], classes=("a", "b"))
    assert found["per_class"]["a"]["ece"] == pytest.approx(0.1)
    assert found["per_class"]["b"]["ece"] == pytest.approx(0.5)
    assert found["ece"] == pytest.approx(0.3)


def test_a_probability_of_1_is_in_the_last_bin_and_one_of_0_costs_a_finite_loss():
    found = computed("binary", [[[1.0, 0.0]]], [[1, 1]])
    assert found["bins"][-1]["pixels"] == 1
    assert found["nll"] == pytest.approx(-math.log(SMALLEST) / 2)


def test_where_nothing_is_counted_every_figure_is_none():
    found = computed("binary", [[[0.5]]], [[255]])
    assert (found["ece"], found["brier"], found["nll"]) == (None, None, None)
    json.dumps(found, allow_nan=False)


def test_bins_of_equal_mass_by_hand():
    # Two bins of two pixels: 0.1 and 0.2 with one foreground, 0.3 and 0.9 with one.
    found = computed("binary", [[[0.3, 0.1, 0.9, 0.2]]], [[0, 0, 1, 1]], bins=2)
    assert found["adaptive_ece"] == pytest.approx((abs(0.3 - 1) + abs(1.2 - 1)) / 4, abs=1e-6)
    # Of three pixels half of the middle one is in each bin.
    found = computed("binary", [[[0.1, 0.4, 0.9]]], [[0, 1, 1]], bins=2)
    assert found["adaptive_ece"] == pytest.approx((abs(0.3 - 0.5) + abs(1.1 - 1.5)) / 3, abs=1e-6)


def test_bins_of_equal_mass_are_those_of_a_sort():
    probabilities, target = random_pixels(1)
    counted = target != 255
    order = np.argsort(probabilities[0][counted])
    p, y = probabilities[0][counted][order], target[counted][order]
    at = np.linspace(0, len(p), 16)
    sums = (np.interp(at, np.arange(len(p) + 1), np.concatenate([[0], v.cumsum()])) for v in (p.astype(float), y))
    confidence, right = (np.diff(each) for each in sums)
    found = computed("binary", probabilities, target)["adaptive_ece"]
    assert found == pytest.approx(np.abs(confidence - right).sum() / len(p), abs=1e-4)


def test_an_ignored_class_is_in_no_mean_and_one_without_error_is():
    maps = [[[1.0, 0.0]], [[0.8, 0.8]], [[0.5, 0.5]]]
    found = computed("multilabel", maps, [[[1, 0]], [[1, 1]], [[255, 255]]], classes="abc")
    assert found["per_class"]["c"]["ece"] is None
    for key, value in (("ece", 0.2), ("brier", 0.04), ("nll", -math.log(0.8))):
        assert found[key] == pytest.approx(value / 2, abs=1e-6)
