from types import SimpleNamespace

import numpy as np
import pytest

from segkit.data.reader import Reader
from segkit.data.scaled import scaled
from segkit.drawing.overlay import draw_overlay
from segkit.measuring import preview
from segkit.measuring.preview import draw_preview

PALETTE = np.array([[0, 0, 0], [230, 159, 0], [86, 180, 233]], np.uint8)


def of(pixels, labels, *, task="multiclass", background=0, palette=PALETTE, channels=3):
    pixels = scaled(pixels, Reader(channels=channels), "picture")
    return SimpleNamespace(scaled=pixels, labels=labels, palette=palette, background=background, task=task)


def random(height, width, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8), rng.integers(0, 3, (height, width), dtype=np.uint8)


def test_a_picture_that_is_small_enough_is_its_overlay():
    pixels, labels = random(40, 60)
    drawn = draw_preview(of(pixels, labels))
    expected = draw_overlay(pixels.astype(np.float32) / 255, labels, PALETTE, 0)
    assert drawn.shape == (40, 60, 3)
    assert np.abs(drawn.astype(int) - expected).max() <= 1


def test_classes_that_overlap_too():
    pixels, _ = random(30, 20)
    labels = np.random.default_rng(1).integers(0, 2, (2, 30, 20), dtype=np.uint8)
    drawn = draw_preview(of(pixels, labels, task="multilabel", background=None, palette=PALETTE[1:]))
    expected = draw_overlay(pixels.astype(np.float32) / 255, labels, PALETTE[1:], None)
    assert np.abs(drawn.astype(int) - expected).max() <= 1


@pytest.mark.parametrize(("size", "small"), [((100, 64), (25, 16)), ((101, 63), (26, 16)), ((7, 90), (2, 23))])
def test_a_large_one_is_smaller_by_a_whole_number(size, small):
    pixels, _ = random(*size)
    drawn = draw_preview(of(pixels, np.zeros(size, np.uint8)), longest=26)
    assert drawn.shape == (*small, 3)
    assert np.abs(drawn[0, 0] - pixels[:4, :4].reshape(-1, 3).mean(0)).max() <= 1
    corner = pixels[4 * (small[0] - 1) :, 4 * (small[1] - 1) :].reshape(-1, 3)
    assert np.abs(drawn[-1, -1] - corner.mean(0)).max() <= 1


def test_a_pixel_is_tinted_by_the_share_that_is_of_the_class():
    labels = np.zeros((40, 40), np.uint8)
    labels[::4, 20:] = 1  # a quarter
    drawn = draw_preview(of(np.full((40, 40, 3), 100, np.uint8), labels), longest=10)
    assert np.array_equal(drawn[:, :5], np.full((10, 5, 3), 100))
    tinted = np.rint(0.9 * 100 + 0.1 * PALETTE[1].astype(float))
    assert np.abs(drawn[:, 5:] - tinted).max() <= 1
    labels[::4] = labels[1::4] = 2  # half, which is outlined
    drawn = draw_preview(of(np.full((40, 40, 3), 100, np.uint8), labels), longest=10)
    assert np.array_equal(drawn[0, 0], np.rint(0.8 * 100 + 0.2 * PALETTE[2].astype(float)))


def test_the_outline_is_a_pixel_of_the_preview_wide():
    labels = np.zeros((64, 64), np.uint8)
    labels[16:48, 16:48] = 1
    drawn = draw_preview(of(np.zeros((64, 64, 3), np.uint8), labels), longest=16)
    assert (drawn == PALETTE[1]).all(-1).sum() == 4 * 8 - 4


def test_drawn_in_parts_it_is_the_same(monkeypatch):
    pixels, labels = random(101, 67)
    whole = draw_preview(of(pixels, labels), longest=26)
    monkeypatch.setattr(preview, "VALUES", 600)
    assert np.array_equal(draw_preview(of(pixels, labels), longest=26), whole)


def test_a_grey_picture_is_shown_grey():
    drawn = draw_preview(of(np.full((5, 6), 51, np.uint8), np.zeros((5, 6), np.uint8), channels=1))
    assert np.array_equal(drawn, np.full((5, 6, 3), 51))
