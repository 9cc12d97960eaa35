"""The regression of Dice: against scikit-learn, its bounds on new images, and what it is judged by."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from segkit.trusting.quality import PENALTIES, Quality, _accepted, fit_quality


def made(count, noise=0.05, seed=0):
    random = np.random.default_rng(seed)
    signs = random.random((count, 3)) * [1, 5, 0] + [0, 2, 7]
    dice = np.clip(0.2 + 0.5 * signs[:, 0] + random.normal(0, noise, count), 0, 1)
    return signs, dice


def fitted(signs, dice, units=None, good=0.5, risk=0.1):
    units = np.arange(len(dice)) if units is None else units
    return fit_quality(["a", "b", "c"], signs, dice, units, good=good, risk=risk)


def test_it_is_a_ridge_regression():
    signs, dice = made(60)
    quality = fitted(signs, dice)
    scale = np.where(signs.std(0) > 0, signs.std(0), 1)
    x = (signs - signs.mean(0)) / scale
    found = [Ridge(alpha=each).fit(x, dice).predict(x).clip(0, 1) for each in PENALTIES]
    ours = np.array([quality.predicted(each) for each in signs])
    assert min(np.abs(ours - each).max() for each in found) < 1e-9


def test_figures_are_of_images_held_out():
    quality = fitted(*made(80))
    assert quality.correlation > 0.9
    assert quality.mean_error == pytest.approx(0.04, abs=0.012)
    random = np.random.default_rng(1)
    noise = fitted(random.random((80, 3)), random.random(80))
    assert abs(noise.correlation) < 0.35


def test_units_stay_together():
    # Images of a unit are the same: who has seen one knows the other, and would be judged too well.
    random = np.random.default_rng(2)
    signs, dice = random.random((20, 3)).repeat(6, axis=0), random.random(20).repeat(6)
    apart = fitted(signs, dice, np.arange(20).repeat(6))
    assert apart.mean_error > fitted(signs, dice).mean_error


@pytest.mark.parametrize("risk", [0.05, 0.1, 0.3])
def test_bounds_hold_on_new_images_as_often_as_said(risk):
    quality = fitted(*made(150, seed=3))
    signs, dice = made(4000, seed=4)
    below = np.mean([d < quality.bound(s, risk) for s, d in zip(signs, dice, strict=True)])
    assert below == pytest.approx(risk, abs=0.05)


def test_too_few_images_promise_nothing():
    quality = fitted(*made(12))
    assert quality.bound(np.array([0.9, 3, 7]), 0.05) == 0
    assert quality.bound(np.array([0.9, 3, 7]), 0.5) > 0.4


@pytest.mark.parametrize("risk", [0.1, 0.2])
def test_of_those_accepted_no_more_are_worse_than_asked_for(risk):
    # An eighth of the images are bad although they look good: a bound on all images would accept too many.
    worse, shares = [], []
    for seed in range(30):
        random = np.random.default_rng(seed)

        def drawn(count, random=random):
            signs = random.random((count, 3))
            hidden = random.random(count) < 0.125
            return signs, np.clip(0.45 + 0.5 * signs[:, 0] + random.normal(0, 0.03, count) - 0.5 * hidden, 0, 1)

        quality = fitted(*drawn(200), good=0.7, risk=risk)
        signs, dice = drawn(2000)
        taken = np.array([quality.cut is not None and quality.predicted(each) >= quality.cut for each in signs])
        shares.append(taken.mean())
        worse.append((dice[taken] < 0.7).mean() if taken.any() else 0.0)  # as false discovery rates are counted
        assert quality.worse is None or quality.worse <= risk
    assert np.mean(worse) <= risk + 0.02
    assert np.mean(shares) > (0.3 if risk == 0.2 else 0)


def test_equal_predictions_are_accepted_together():
    signs = np.zeros((40, 3))
    quality = fitted(signs, np.array([0.9] * 20 + [0.1] * 20), risk=0.3)
    assert quality.cut is None


def test_it_is_kept_as_text():
    quality = fitted(*made(30))
    assert Quality.model_validate_json(quality.model_dump_json()) == quality


def test_images_of_one_patient_promise_no_more_than_one():
    signs, dice = made(100)[0], np.full(100, 0.9)
    alone = fitted(signs, dice, good=0.8, risk=0.05)
    assert (alone.cut, alone.units, alone.accepted) == (pytest.approx(0.9), 100, 1.0)
    assert alone.bound(signs[0], 0.05) == pytest.approx(0.9)
    patients = fitted(signs, dice, np.arange(5).repeat(20), good=0.8, risk=0.05)
    assert (patients.cut, patients.units, patients.images) == (None, 5, 100)
    assert patients.bound(signs[0], 0.05) == 0  # with five patients nothing is known of one in twenty
    assert patients.bound(signs[0], 0.2) == pytest.approx(0.9)
    assert fitted(signs, dice, np.arange(5).repeat(20), good=0.8, risk=0.2).cut is not None


def test_a_patient_with_many_images_counts_as_one_with_few():
    signs, dice = np.zeros((40, 3)), np.array([0.5] * 30 + [0.9] * 10)
    units = np.array([0] * 30 + list(range(1, 11)))
    errors = fitted(signs, dice, units)
    assert errors.shares[0] == pytest.approx(1 / 12)  # nothing lies below, but the next unit may
    steps = np.diff(errors.shares)
    assert sorted(set(steps.round(6))) == [round(1 / 30 / 12, 6), round(1 / 12, 6)]


def test_the_penalty_is_the_one_with_the_smallest_leave_one_out_error():
    # The sign tells far less than the noise: training error asks for the smallest penalty, left-out ones the largest.
    x, noise = np.tile([1.0, -1.0], 10), np.tile([1.0, 1.0, -1.0, -1.0], 5)
    quality = fitted(np.stack([x, 0 * x, 0 * x], 1), 0.5 + 0.01 * x + 0.3 * noise)
    assert quality.slopes == pytest.approx([0.01 * 20 / (20 + PENALTIES[-1]), 0, 0])


def test_accepted_are_as_many_as_keep_the_bad_ones_and_one_more_within_the_risk():
    held = np.array([0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6])
    dice = np.array([0.9, 0.9, 0.9, 0.9, 0.1, 0.9, 0.9, 0.1])
    # (1 + 1) / (7 + 1) is within 0.3, (2 + 1) / (8 + 1) isn't
    found = _accepted(held, dice, np.ones(8), 0.5, 0.3)
    assert found == pytest.approx({"cut": 0.65, "accepted": 7 / 8, "worse": 1 / 7})


def test_no_dice_above_one_is_expected():
    quality = fitted(*made(60))
    assert quality.predicted(np.array([50.0, 3.0, 7.0])) == 1
    assert quality.predicted(np.array([-50.0, 3.0, 7.0])) == 0


def test_of_equal_predictions_all_or_none_are_accepted():
    held, dice = np.array([0.9, 0.9, 0.9, 0.8, 0.8]), np.array([0.9, 0.9, 0.9, 0.9, 0.1])
    # three accepted: 1 of 4 within 0.3; four would be 1 of 5, but the fifth is the fourth's equal: 2 of 6
    assert _accepted(held, dice, np.ones(5), 0.5, 0.3) == pytest.approx({"cut": 0.9, "accepted": 0.6, "worse": 0.0})
