import csv

import cv2
import numpy as np
import pytest
from sklearn.metrics import confusion_matrix as peer

from segkit.classification.confusion import confusion_matrix, draw_confusion, write_confusion


def test_rows_are_the_true_classes():
    assert confusion_matrix(np.array([0, 0, 2]), np.array([0, 1, 2]), 4).tolist() == [
        [1, 1, 0, 0],
        [0, 0, 0, 0],
        [0, 0, 1, 0],
        [0, 0, 0, 0],
    ]


def test_it_is_scikit_learns():
    random = np.random.default_rng(1)
    labels, predicted = random.integers(12, size=(2, 500))
    np.testing.assert_array_equal(confusion_matrix(labels, predicted, 12), peer(labels, predicted))


def test_the_table_names_both_sides(tmp_path):
    write_confusion(np.array([[3, 1], [0, 2]]), ["cat", "dog, wet"], tmp_path / "c.csv")
    with (tmp_path / "c.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert rows == [["true \\ predicted", "cat", "dog, wet"], ["cat", "3", "1"], ["dog, wet", "0", "2"]]


def test_a_class_that_the_font_has_no_letters_for_is_drawn_without_a_word(tmp_path, recwarn):
    draw_confusion(np.eye(2, dtype=np.int64), ["犬", "猫"], tmp_path / "c.png")
    assert not [each for each in recwarn if "Glyph" in str(each.message)]


@pytest.mark.parametrize("classes", [2, 30, 100])
def test_the_picture_is_readable_at_any_number_of_classes(tmp_path, classes):
    matrix = np.eye(classes, dtype=np.int64) * 40 + 1
    names = [f"a $class$ of a long name {i}" for i in range(classes)]
    draw_confusion(matrix, names, tmp_path / "c.png")
    height, width = cv2.imread(str(tmp_path / "c.png")).shape[:2]
    assert 200 < height < 1500
    assert 200 < width < 1700
