"""Paired differences: by hand, as scipy's permutation test, and honest about little data."""

import json

import numpy as np
import pytest
from scipy.stats import permutation_test

from segkit.evaluation.pairing import exchanges, paired

CLASSES = ("background", "cell")


def counts_of(tp, fp, fn, pixels=1000):
    tp, fp, fn = (np.asarray(values) for values in (tp, fp, fn))
    tn = pixels - tp - fp - fn
    return np.stack([np.stack([tn, fn, fp, tp], 1), np.stack([tp, fp, fn, tn], 1)], 2)


def compared(first, second, units=None, **options):
    units = np.arange(len(first)) if units is None else np.asarray(units)
    return paired(first, second, units, "image", classes=CLASSES, task="binary", background=0, **options)


def noisy(images, gain, seed=0):
    generator = np.random.default_rng(seed)
    tp, fn = generator.integers(50, 150, images), generator.integers(10, 50, images)
    fp = generator.integers(20, 60, images)
    better = np.clip(fp - gain + generator.integers(-10, 11, images), 0, None)
    return counts_of(tp, fp, fn), counts_of(tp, better, fn)


def test_two_images_by_hand():
    first, second = counts_of([2, 4], [0, 2], [2, 0]), counts_of([4, 4], [0, 0], [0, 0])
    found = compared(first, second)
    pooled, _, mean, _ = found["scores"]
    assert (pooled["of"], pooled["averaged"]) == ("Dice of cell", "pooled")
    assert pooled["first"] == pytest.approx(12 / 16)
    assert pooled["second"] == 1
    assert pooled["difference"] == pytest.approx(4 / 16)
    assert mean["difference"] == pytest.approx(1 - (4 / 6 + 8 / 10) / 2)
    assert found["better"] == {"first": 0, "second": 2, "equal": 0}
    assert found["images"][0] == {"first": pytest.approx(4 / 6), "second": 1.0}
    assert mean["p"] == 2 / 4  # of ++, +-, -+, -- two differ as much
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize("images", [8, 40])
def test_p_of_the_mean_is_that_of_scipy_s_paired_permutations(images):
    first, second = noisy(images, gain=3)
    dice = [2 * c[:, 0, 1] / (2 * c[:, 0, 1] + c[:, 1, 1] + c[:, 2, 1]) for c in (first, second)]
    expected = permutation_test(
        dice,
        lambda a, b, axis=-1: (b - a).mean(axis),
        permutation_type="samples",
        n_resamples=9999,
        rng=np.random.default_rng(0),
    ).pvalue
    found = compared(first, second)
    assert found["scores"][2]["p"] == pytest.approx(expected, abs=1e-12 if images == 8 else 0.02)
    assert found["exchanges"] == (256 if images == 8 else 9999)


def test_an_improvement_shows_and_noise_does_not():
    clear, noise = compared(*noisy(40, gain=15))["scores"][0], compared(*noisy(40, gain=0))["scores"][0]
    assert clear["interval"][0] > 0
    assert clear["p"] < 0.001
    assert noise["interval"][0] < 0 < noise["interval"][1]
    assert noise["p"] > 0.05


def test_pairing_sees_what_the_models_own_intervals_hide():
    first, second = noisy(40, gain=5)
    low, high = compared(first, second)["scores"][0]["interval"]
    assert 0 < low < high < 0.1


def test_the_same_model_twice_differs_by_nothing():
    first, _ = noisy(20, gain=0)
    found = compared(first, first)
    row = found["scores"][0]
    assert (row["difference"], row["interval"], row["p"]) == (0, [0, 0], 1)
    assert found["better"] == {"first": 0, "second": 0, "equal": 20}


def test_groups_leave_fewer_ways_to_exchange():
    first, second = noisy(8, gain=8)
    found = compared(first, second, units=[0, 0, 0, 0, 1, 1, 1, 1])
    assert (found["units"], found["exchanges"]) == (2, 4)
    assert found["scores"][0]["p"] >= 0.5


def test_one_image_has_a_difference_and_nothing_more():
    row = compared(*noisy(1, gain=5))["scores"][0]
    assert row["difference"] is not None
    assert (row["interval"], row["p"]) == (None, None)


def test_an_image_where_one_rightly_draws_nothing_is_better_and_in_no_mean():
    first, second = counts_of([5, 0, 0], [0, 0, 0], [0, 0, 0]), counts_of([5, 0, 0], [0, 3, 0], [0, 0, 0])
    found = compared(first, second)
    assert found["better"] == {"first": 1, "second": 0, "equal": 2}
    pooled, _, mean, _ = found["scores"]
    assert mean["difference"] == 0
    assert pooled["difference"] == pytest.approx(10 / 13 - 1)
    assert found["images"][1:] == [{"first": None, "second": 0.0}, {"first": None, "second": None}]


def test_rows_of_a_multiclass_task():
    counts = np.ones((3, 4, 3), np.int64)
    found = paired(
        counts, counts, np.arange(3), "image", classes=("sky", "road", "car"), task="multiclass", background=None
    )
    assert [row["of"] for row in found["scores"]] == [
        "mean IoU",
        "mean Dice",
        "mean IoU",
        "Dice of sky",
        "Dice of road",
        "Dice of car",
    ]


def test_exchanges_are_all_up_to_twelve_units():
    (few,), (all_of_them,) = exchanges(3, seed=0), exchanges(12, seed=0)
    assert few.shape == (8, 3)
    assert len(np.unique(all_of_them, axis=0)) == 4096
    many = list(exchanges(5000, seed=0))  # in blocks, so that thousands of images fit into memory
    assert sum(map(len, many)) == 9999
    assert max(block.size for block in many) <= 1 << 22


def test_up_to_twelve_units_every_way_counts_and_beyond_them_the_one_at_hand_too():
    found = compared(*noisy(12, gain=15))
    assert (found["exchanges"], found["scores"][0]["p"]) == (4096, 2 / 4096)
    assert compared(*noisy(13, gain=15))["exchanges"] == 9999
    assert compared(*noisy(40, gain=15))["scores"][0]["p"] == 1 / 10_000


def test_scores_of_a_multiclass_task_leave_its_background_out():
    one = np.array([[9, 1, 3], [0, 1, 1], [0, 2, 0], [5, 10, 10]])  # IoU 1, 1/4, 3/4
    counts = np.stack([one] * 3)
    classes = ("sky", "road", "car")
    rows = paired(counts, counts, np.arange(3), "image", classes=classes, task="multiclass", background=0)["scores"]
    assert [row["of"] for row in rows[:3]] == [f"mean {score} without background" for score in ("IoU", "Dice", "IoU")]
    assert [row["first"] for row in rows] == pytest.approx([1 / 2, (2 / 5 + 6 / 7) / 2, 1 / 2, 1, 2 / 5, 6 / 7])
