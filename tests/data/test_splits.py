from hashlib import sha256

import pytest

from segkit.data.splits import Overlap, draw_splits, each_once, hashed_groups, overlaps, purpose


def test_the_order_is_that_of_the_names_hashes_with_groups_together():
    groups = {"p": ["c", "a"], "q": ["b"]}
    names = sorted(["p", "q", "d"], key=lambda name: sha256(name.encode()).digest())
    expected = [{"p": ["a", "c"], "q": ["b"], "d": ["d"]}[name] for name in names]
    assert hashed_groups(["d", "c", "b", "a"], groups) == expected


@pytest.mark.parametrize(("count", "sizes"), [(1, (1, 0, 0)), (2, (1, 1, 0)), (3, (1, 1, 1)), (20, (14, 3, 3))])
def test_splits_are_drawn_in_shares_of_70_15_and_15(count, sizes):
    splits = draw_splits([f"p{i}" for i in range(count)], {})
    assert tuple(map(len, splits.values())) == sizes


def test_what_two_splits_have_in_common():
    splits = {"train": ["a", "b"], "val": ["c"], "test": ["b", "d"]}
    found = list(overlaps(splits, {"p": ["a", "c"], "q": ["d"]}))
    assert found == [Overlap("train", "val", (), ("p",)), Overlap("train", "test", ("b",), ())]


def test_tests_come_last_by_purpose():
    assert sorted(["test_rig_b", "val", "train", "test"], key=purpose) == ["train", "val", "test_rig_b", "test"]
    assert [purpose(split) for split in ("training", "validation", "official_test")] == [0, 1, 2]


def test_names_are_kept_once_where_they_are_most_for_testing():
    splits = {"train": ["a", "b", "c"], "test": ["b", "d"], "test_b": ["d", "c"], "val": ["a"]}
    assert each_once(splits, ["a", "b", "d"]) == {"train": ["c"], "test": ["b", "d"], "test_b": ["c"], "val": ["a"]}
