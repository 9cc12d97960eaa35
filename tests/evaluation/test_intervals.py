"""Intervals: those of scipy's bootstrap, wider for groups, absent where nothing can be said."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import bootstrap

from segkit.data.folder import Sample
from segkit.evaluation.intervals import UnitSums, multiplicities, score_intervals, units_of

CLASSES = ("background", "cell")


def cell_counts(images, seed=0):
    """TP, FP, FN, TN of a binary task's two classes, [N, 4, 2]; images differ much in how hard they are."""
    generator = np.random.default_rng(seed)
    tp, fp, fn = (generator.integers(low, high, images) for low, high in ((20, 200), (0, 60), (0, 60)))
    tn = 1000 - tp - fp - fn
    return np.stack([np.stack([tn, fn, fp, tp], 1), np.stack([tp, fp, fn, tn], 1)], 2)


def intervals_of(counts, units=None, unit="image", **options):
    units = np.arange(len(counts)) if units is None else np.asarray(units)
    return score_intervals(counts, units, unit, classes=CLASSES, task="binary", kept=[1], **options)


def test_multiplicities_draw_as_many_units_as_there_are():
    (drawn,) = multiplicities(7, 50, seed=0)
    assert drawn.shape == (50, 7)
    assert (drawn.sum(1) == 7).all()


def test_pooled_and_mean_intervals_are_those_of_scipy():
    counts = cell_counts(30)
    found = intervals_of(counts, resamples=8000)
    tp, fp, fn, _ = counts[:, :, 1].T

    def pooled(tp, fp, fn, axis=-1):
        return 2 * tp.sum(axis) / (2 * tp + fp + fn).sum(axis)

    def mean(tp, fp, fn, axis=-1):
        return (2 * tp / (2 * tp + fp + fn)).mean(axis)

    for statistic, where in ((pooled, "pooled"), (mean, "mean_over_images")):
        expected = bootstrap(
            (tp, fp, fn), statistic, paired=True, n_resamples=8000, method="percentile", rng=np.random.default_rng(1)
        ).confidence_interval
        assert found[where]["per_class"]["cell"]["dice"] == pytest.approx(list(expected), abs=0.004)


def test_the_seed_decides():
    counts = cell_counts(10)
    assert intervals_of(counts) == intervals_of(counts)
    assert intervals_of(counts) != intervals_of(counts, seed=1)
    assert (intervals_of(counts)["resamples"], intervals_of(counts)["level"]) == (2000, 0.95)


def test_images_of_one_group_are_drawn_together():
    counts = np.repeat(cell_counts(6), 5, axis=0)  # five equal images a patient
    units = np.repeat(np.arange(6), 5)
    alone, grouped = intervals_of(counts), intervals_of(counts, units, "group")
    assert (grouped["units"], grouped["method"]) == (6, "percentile bootstrap over groups")
    widths = [np.diff(found["pooled"]["per_class"]["cell"]["dice"])[0] for found in (alone, grouped)]
    assert widths[1] > 1.5 * widths[0]
    assert grouped["pooled"] == intervals_of(cell_counts(6))["pooled"]  # five equal images tell no more than one


def test_one_image_has_no_interval():
    found = intervals_of(cell_counts(1))
    assert found["units"] == 1
    assert found["pooled"]["per_class"]["cell"]["dice"] is None
    assert found["mean_over_images"]["per_class"]["cell"]["iou"] is None
    assert found["pooled"]["mean_dice"] is None


def test_a_class_in_one_image_of_three_has_no_interval():
    counts = cell_counts(3)
    counts[:2, :3, 1] = 0
    found = intervals_of(counts)
    assert found["pooled"]["per_class"]["cell"]["dice"] is None
    assert found["pooled"]["per_class"]["background"]["dice"] is not None


def test_the_sums_of_all_units_give_the_scores_themselves():
    counts = cell_counts(4)
    sums = UnitSums(counts, np.array([0, 0, 1, 2]), "binary", [1])
    scores = sums.scores(sums.rows.sum(0, keepdims=True))
    tp, fp, fn, _ = counts[:, :, 1].T
    assert scores["pooled dice"][0, 1] == pytest.approx(2 * tp.sum() / (2 * tp + fp + fn).sum())
    assert scores["mean over images dice"][0, 1] == pytest.approx((2 * tp / (2 * tp + fp + fn)).mean())
    assert scores["mean over images image"][0] == pytest.approx((2 * tp / (2 * tp + fp + fn)).mean())


def test_units_are_groups_where_the_dataset_has_them():
    samples = [Sample(name, Path(name)) for name in ("a1", "b1", "a2", "c")]
    units, unit = units_of(SimpleNamespace(groups={"a": ("a1", "a2"), "b": ("b1",)}), samples)
    assert (units.tolist(), unit) == ([0, 1, 0, 2], "group")
    units, unit = units_of(SimpleNamespace(groups={}), samples)
    assert (units.tolist(), unit) == ([0, 1, 2, 3], "image")
