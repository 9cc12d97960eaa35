"""The worst images: the right ones, in order, drawn only when they get among them."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from segkit.data.folder import Sample
from segkit.drawing.error_picture import IGNORED, MISSED
from segkit.drawing.palette import default_palette
from segkit.evaluation.looks import Look, stretched
from segkit.evaluation.worst import Worst, shrunk


def look(name, *, labels=((0, 1),), target=((1, 1),), entropy=None, picture=None):
    image = partial(np.zeros, (1, 2, 3), np.float32)
    labels, target = np.array(labels, np.uint8), np.array(target, np.uint8)
    return Look(Sample(name, Path(name)), target, [labels], entropy, picture or image)


def test_the_lowest_scores_in_order_the_earlier_first():
    worst = Worst(default_palette("binary", 1), 0, count=3)
    for name, score in zip("abcdefg", (0.9, 0.4, 0.7, float("nan"), 0.4, 0.1, 0.8), strict=True):
        worst.offer(score, look(name))
    assert [(example.name, example.score) for example in worst.examples] == [("f", 0.1), ("b", 0.4), ("e", 0.4)]


def test_only_what_gets_among_them_is_drawn():
    read = []

    def picture():
        read.append(1)
        return np.zeros((1, 2, 3), np.float32)

    worst = Worst(default_palette("binary", 1), 0, count=1)
    for score in (0.2, 0.5, 0.2, 0.1):
        worst.offer(score, look("a", picture=picture))
    assert len(read) == 2


def test_the_pictures_of_an_example():
    worst = Worst(default_palette("binary", 1), 0)
    worst.offer(0.5, look("a", target=((1, 255),), entropy=np.array([[0, 255]], np.uint8)))
    pictures = worst.examples[0].pictures
    assert list(pictures) == ["picture", "truth", "prediction", "errors", "uncertainty"]
    assert pictures["picture"].max() == 0
    assert tuple(pictures["errors"][0, 0]) == MISSED
    assert tuple(pictures["errors"][0, 1]) == tuple(pictures["truth"][0, 1]) == IGNORED
    assert pictures["uncertainty"][0, 0].sum() < pictures["uncertainty"][0, 1].sum()


def test_masks_have_no_uncertainty_and_multilabel_maps_are_drawn_too():
    worst = Worst(default_palette("multilabel", 2), None)
    worst.offer(0.5, look("a", labels=([[1, 0]], [[0, 1]]), target=([[1, 255]], [[0, 1]])))
    pictures = worst.examples[0].pictures
    assert list(pictures) == ["picture", "truth", "prediction", "errors"]
    np.testing.assert_array_equal(pictures["truth"], pictures["prediction"])


def test_large_pictures_become_small_and_small_ones_stay():
    assert shrunk(np.zeros((1000, 500, 3), np.uint8), side=100).shape == (100, 50, 3)
    picture = 2 * np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    np.testing.assert_array_equal(shrunk(picture, side=2), picture)
    np.testing.assert_array_equal(shrunk(picture, side=1), [[[9, 11, 13]]])  # means


@pytest.mark.parametrize(("pixels", "ends"), [(np.array([[[0], [255]]], np.uint8), [0, 1]), (None, [0, 1])])
def test_pixels_are_stretched_for_people_to_look_at(pixels, ends):
    if pixels is None:
        pixels = np.linspace(1000, 3000, 1001).reshape(1, -1, 1).astype(np.uint16)
    shown = stretched(pixels)
    assert [shown.min(), shown.max()] == pytest.approx(ends)
    assert shown.dtype == np.float32
