from hashlib import sha256

import numpy as np
import pytest

from segkit.labelled.images import LabelledImages
from segkit.labelled.sources import Files
from segkit.labelled.splits import drawn_splits, with_unlabelled, with_validation


def images(labels, splits):
    names = [f"{label}/{number}" for number, label in enumerate(labels)]
    return LabelledImages("x", "x", ("a", "b", "c"), names, np.array(labels), splits, ("first",), Files("x", names))


def test_a_tenth_of_each_class_is_held_out_by_the_names_hashes():
    labels = [0] * 40 + [1] * 12 + [2] * 2 + [0]
    train = np.arange(54)
    found = with_validation(images(labels, {"train": train, "test": np.array([54])}))
    assert list(found.splits) == ["train", "val", "test"]
    assert np.bincount(found.labels[found.splits["val"]]).tolist() == [4, 1, 1]
    by_hash = sorted((found.names[i] for i in range(40)), key=lambda name: sha256(name.encode()).digest())
    assert {found.names[i] for i in found.splits["val"][:4]} == set(by_hash[:4])
    assert sorted([*found.splits["train"], *found.splits["val"]]) == train.tolist()
    assert found.splits["test"].tolist() == [54]
    assert found.notes == (
        "first",
        "no val split: 6 of the 54 training images are held out as one (10% of each class, by a hash of the name)",
    )


@pytest.mark.parametrize("splits", [{"test": np.arange(3)}, {"train": np.arange(2), "val": np.array([2])}])
def test_nothing_is_held_out_where_there_is_a_val_or_no_train(splits):
    before = images([0, 1, 2], splits)
    assert with_validation(before) is before


def test_a_class_of_one_image_keeps_it():
    before = images([0, 1, 2], {"train": np.arange(3)})
    assert with_validation(before) is before


def test_splits_are_drawn_within_each_class():
    names = [str(number) for number in range(41)]
    labels = np.array([0] * 20 + [1] * 20 + [-1])
    splits = drawn_splits(names, labels)
    assert {split: np.bincount(labels[found]).tolist() for split, found in splits.items() if split != "unlabelled"} == {
        "train": [14, 14],
        "val": [3, 3],
        "test": [3, 3],
    }
    assert splits["unlabelled"].tolist() == [40]


def test_images_without_label_are_in_no_other_split():
    labels = np.array([0, -1, 1])
    found = with_unlabelled(
        {"train": np.array([0, 1]), "val": np.array([], dtype=np.int64), "test": np.array([2])}, labels
    )
    assert {split: indices.tolist() for split, indices in found.items()} == {
        "train": [0],
        "test": [2],
        "unlabelled": [1],
    }
