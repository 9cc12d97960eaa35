"""Splits of a source as they are written."""

import pytest

from segkit.importing.splits import settled

NAMES = [f"n{number}" for number in range(10)]


def test_train_and_val_stay_and_so_do_others():
    given = {"train": ("n0", "n1"), "val": ("n2",), "test_b": ("n3",)}
    assert settled(given, NAMES) == (given, ())


@pytest.mark.parametrize("given", [{}, {"train": ()}, {"train": ("gone",)}])
def test_none_are_drawn_later(given):
    splits, notes = settled(given, NAMES)
    assert splits == {}
    assert notes == ("the source has no splits: they are drawn by a hash of the names when the dataset is opened",)


def test_training_alone_is_no_split_unless_some_are_kept_out_of_it():
    assert settled({"train": NAMES}, NAMES)[0] == {}
    splits, _ = settled({"train": NAMES[:8]}, NAMES)
    assert (len(splits["train"]), len(splits["val"])) == (7, 1)
    assert sorted(splits["train"] + splits["val"]) == NAMES[:8]


def test_with_a_test_split_some_of_training_validate_and_always_the_same():
    splits, notes = settled({"train": NAMES[:9], "test": NAMES[9:]}, NAMES)
    assert (len(splits["train"]), len(splits["val"]), splits["test"]) == (8, 1, ("n9",))
    assert settled({"train": NAMES[8::-1], "test": NAMES[9:]}, NAMES)[0] == splits
    assert notes == ("the source has no validation split: 1 of its 9 training cases, by a hash of their names",)


def test_one_training_case_stays_one():
    given = {"train": ("n0",), "test": ("n1",)}
    assert settled(given, NAMES[:2]) == (given, ())


def test_names_that_are_not_there_are_left_out():
    assert settled({"train": ("n0", "gone"), "val": ("n1",)}, NAMES)[0] == {"train": ("n0",), "val": ("n1",)}
