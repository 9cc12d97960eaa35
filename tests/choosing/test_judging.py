"""A step is kept where it helps, and said why not where it doesn't."""

import numpy as np
import pytest

from segkit.choosing.judging import class_means, mean_dice, rule

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
        ([[0.4, 0], [0, 0], [0, 0], [0, 0]], "one case alone is better: too little to go by"),
        ([[0.4, 0], [0.1, 0], [-0.1, 0], [-0.1, 0]], "2 of the 4 cases that change are better, not more than half"),
    ],
)
def test_a_step_that_does_not_is_not_kept(change, reason):
    before = np.full((4, 2), 0.5)
    found = rule(before, (before + change)[None], alone(4))
    assert (found.kept, found.reason) == (False, reason)


def test_a_false_find_that_goes_counts_for_the_step():
    before, after = np.array([[0.0], [0.0], [0.6]]), np.array([[NAN], [NAN], [0.6]])
    found = rule(before, after[None], alone(3))
    assert (found.kept, found.better, found.changed) == (True, 2, 2)
    assert not rule(after, before[None], alone(3)).kept


def test_the_mildest_of_equals_is_taken():
    before = np.full((4, 1), 0.5)
    values = np.stack([before, before + 0.1, before + 0.1])
    assert rule(before, values, alone(4)).best == 1


def test_a_value_must_help_cases_that_it_was_not_chosen_on():
    """Of two patients each has a value that helps it, and harms the other or leaves it as it is."""
    before = np.full((4, 1), 0.5)
    first = before + np.array([[0.1], [0.1], [0.1], [-0.2]])
    second = before + np.array([[0.0], [0.0], [0.0], [0.09]])
    patients = np.array([7, 7, 7, 3])
    found = rule(before, np.stack([first, second]), patients)
    assert (found.kept, found.best, found.better, found.changed) == (False, 0, 3, 4)
    assert found.reason == "on cases that its value wasn't chosen on, the mean Dice doesn't rise (-0.0500)"
    assert rule(before, first[None], patients).kept  # nothing was chosen


def test_a_value_that_helps_wherever_it_is_chosen_is_kept():
    before = np.full((10, 2), 0.5)
    better, worse = before + np.array([0.01, 0.1]), before - 0.1
    found = rule(before, np.stack([worse, better]), alone(10))
    assert (found.kept, found.best, found.better) == (True, 1, 10)


def test_one_group_alone_teaches_nothing():
    before = np.full((6, 1), 0.5)
    found = rule(before, (before + 0.1)[None], np.zeros(6, np.int64))
    assert found.reason == "there is one case, or one group, alone: nothing to judge a choice by"
