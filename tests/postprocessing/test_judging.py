"""A step is kept where it helps, and said why not where it doesn't."""

import numpy as np
import pytest

from segkit.postprocessing.judging import class_means, mean_dice, rule

NAN = float("nan")


def alone(count):
    return np.arange(count)


def test_means_leave_out_where_a_class_is_nowhere():
    dice = np.array([[0.5, NAN, NAN], [1.0, 0.2, NAN]])
    np.testing.assert_array_equal(class_means(dice), [0.75, 0.2, NAN])
    assert mean_dice(dice) == pytest.approx((0.75 + 0.2 + 1) / 3)


def test_a_step_that_helps_most_cases_is_kept():
    before = np.full((5, 1), 0.5)
    after = before + np.array([[0.1], [0.1], [0.1], [-0.05], [0.0]])
    found = rule(before, after[None], alone(5))
    assert (found.kept, found.better, found.changed) == (True, 3, 4)
    assert found.reason == "mean Dice +0.0500, better in 3 of 4 cases that change"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ([[0, 0], [0, 0], [0, 0], [0, 0]], "it changes no score"),
        ([[0.1, 0], [-0.1, 0], [0, 0], [0, 0]], "the mean Dice doesn't rise (+0.0000)"),
        ([[-0.1, 0], [0, 0], [0, 0], [0, 0]], "the mean Dice doesn't rise (-0.0125)"),
        ([[0.2, -0.1], [0.2, 0], [0.2, 0], [0.2, 0]], "the mean Dice of a class falls"),
        ([[0.4, 0], [0.1, 0], [-0.1, 0], [-0.1, 0]], "2 of the 4 cases that change are better, not more than half"),
    ],
)
def test_a_step_that_does_not_is_not_kept(change, reason):
    before = np.full((4, 2), 0.5)
    found = rule(before, (before + change)[None], alone(4))
    assert (found.kept, found.reason) == (False, reason)


def test_a_false_find_that_goes_counts_for_the_step():
    before, after = np.array([[0.0], [0.6], [0.6]]), np.array([[NAN], [0.6], [0.6]])
    found = rule(before, after[None], alone(3))
    assert (found.kept, found.better, found.changed) == (True, 1, 1)
    assert not rule(after, before[None], alone(3)).kept


def test_the_mildest_of_equals_is_taken():
    before = np.full((4, 1), 0.5)
    values = np.stack([before, before + 0.1, before + 0.1])
    assert rule(before, values, alone(4)).best == 1


def test_a_value_must_help_cases_that_it_was_not_chosen_on():
    """Each value helps one case and harms the others a little: every choice looks good where it was made."""
    before = np.full((10, 1), 0.5)
    values = np.stack([before + np.where(np.arange(10)[:, None] == i, 0.3, 0.001 * (i - 5)) for i in range(10)])
    values[:, :, 0] -= np.where(np.eye(10) > 0, 0, 0.02)
    found = rule(before, values, alone(10))
    assert not found.kept
    better = before + 0.01
    better[::2] += 0.1
    assert rule(before, np.stack([better, before - 0.1]), alone(10)).kept


def test_cases_of_one_group_are_judged_together():
    """Two patients; each has a value of its own that helps it alone."""
    before = np.full((6, 1), 0.5)
    first, second = before.copy(), before.copy()
    first[:3], first[3:] = 0.9, 0.45
    second[:3], second[3:] = 0.45, 0.8
    units = np.array([0, 0, 0, 1, 1, 1])
    found = rule(before, np.stack([first, second]), units)
    assert not found.kept
    assert found.best == 0
    one = rule(before, (before + 0.1)[None], np.zeros(6, np.int64))
    assert one.reason == "there is one case, or one group, alone: nothing to judge a choice by"


def test_what_fails_on_held_out_cases_is_said():
    before = np.full((4, 1), 0.5)
    first = before + np.array([[0.3], [0.3], [0.3], [-0.1]])
    second = before + np.array([[0.29], [0.29], [0.29], [-0.3]])
    third = before + np.array([[0.31], [-0.6], [-0.6], [0.6]])
    assert rule(before, np.stack([first, second, third]), alone(4)).kept
    noisy = np.stack([before + 0.3 * (np.arange(4) == i)[:, None] - 0.05 for i in range(4)])
    found = rule(before, noisy, alone(4))
    assert found.reason.startswith("1 of the 4 cases") or found.reason.startswith("on cases that its value wasn't")
