"""The threshold of the best Dice, counted in one pass, is the one that trying each would find."""

import numpy as np
import pytest

from segkit.evaluation.metrics import SegmentationMetrics
from segkit.evaluation.thresholds import STEPS, ThresholdCounts


def counted(probabilities, target):
    counts = ThresholdCounts(len(probabilities))
    counts.update(np.asarray(probabilities, np.float32), np.asarray(target, np.uint8))
    return counts


def test_by_hand():
    # At 0.3 all three cells and one more: 2·3/(2·3 + 1); above 0.3 one cell is lost: 2·2/(2·2 + 1 + 1) or less.
    counts = counted([[[0.9, 0.6, 0.3, 0.4, 0.1, 0.7]]], [[1, 1, 1, 0, 0, 255]])
    assert counts.dice()[0][round(0.25 * STEPS)] == pytest.approx(6 / 7)
    (best,) = counts.best()
    assert 0.1 < best <= 0.3
    assert best == round(0.3 * STEPS - 0.5) / STEPS  # of equals that nearest 0.5


@pytest.mark.parametrize("threshold", [1 / STEPS, 0.25, 0.5, 511 / STEPS, 1.0])
def test_dice_is_exactly_that_of_labels_at_the_threshold(threshold):
    generator = np.random.default_rng(0)
    probabilities = generator.random((1, 60, 70)).astype(np.float32)
    probabilities[0, :10] = np.round(probabilities[0, :10] * STEPS) / STEPS  # on the thresholds themselves
    target = (generator.random((60, 70)) < probabilities[0]).astype(np.uint8)
    target[5:9] = 255
    metrics = SegmentationMetrics(["background", "cell"], "binary", 0, threshold)
    metrics.update("image", probabilities[0], target)
    expected = metrics.compute()["pooled"]["per_class"]["cell"]["dice"]
    assert counted(probabilities, target).dice()[0][round(threshold * STEPS)] == expected


def test_every_map_has_its_own():
    first, second = counted([[[0.2, 0.1]], [[0.9, 0.8]]], [[[1, 0]], [[1, 0]]]).best()
    assert 0.1 < first <= 0.2
    assert 0.8 < second <= 0.9


def test_of_equally_good_ones_the_nearest_to_one_half():
    assert counted([[[0.9, 0.1]]], [[1, 0]]).best() == [0.5]


@pytest.mark.parametrize("target", [[0, 0], [255, 255]])
def test_without_a_foreground_nothing_is_chosen(target):
    assert counted([[[0.9, 0.1]]], [target]).best() == [0.5]
