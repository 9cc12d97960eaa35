import numpy as np

from segkit.drawing.overlay import contour, draw_overlay

RED, GREEN = [200, 0, 0], [0, 200, 0]


def square(size=7, low=1, high=6):
    area = np.zeros((size, size), np.uint8)
    area[low:high, low:high] = 1
    return area


def test_background_is_untouched_the_area_tinted_and_its_contour_opaque():
    image = np.full((7, 7, 3), 100 / 255, np.float32)
    drawn = draw_overlay(image, square(), np.array([[0, 0, 0], RED], np.uint8), background=0)
    assert drawn.dtype == np.uint8
    assert drawn[0, 0].tolist() == [100, 100, 100]
    assert drawn[3, 3].tolist() == [140, 60, 60]  # 0.6 · 100 + 0.4 · colour
    assert drawn[1, 1].tolist() == RED
    assert (drawn == RED).all(-1).sum() == 16  # the ring of a 5 by 5 square


def test_a_picture_comes_back_to_the_bit_where_nothing_is_found():
    picture = np.random.default_rng(0).integers(0, 256, (9, 5, 3), dtype=np.uint8)
    drawn = draw_overlay(picture.astype(np.float32) / 255, np.zeros((9, 5), np.uint8), np.zeros((2, 3), np.uint8), 0)
    assert np.array_equal(drawn, picture)


def test_grey_becomes_rgb_and_further_channels_are_not_shown():
    labels, palette = np.zeros((2, 2), np.uint8), np.zeros((1, 3), np.uint8)
    assert draw_overlay(np.full((2, 2, 1), 0.2, np.float32), labels, palette, 0).tolist() == [[[51] * 3] * 2] * 2
    four = np.tile(np.array([0.2, 0.4, 0.6, 0.8], np.float32), (2, 2, 1))
    assert draw_overlay(four, labels, palette, 0)[0, 0].tolist() == [51, 102, 153]


def test_without_background_every_class_is_drawn():
    drawn = draw_overlay(np.zeros((3, 3, 3), np.float32), np.zeros((3, 3), np.uint8), np.array([GREEN], np.uint8), None)
    assert drawn[1, 1].tolist() == [0, 80, 0]


def test_overlapping_maps_are_drawn_one_over_the_other():
    maps = np.stack([square(), np.zeros((7, 7), np.uint8)])
    maps[1, 3, 3] = 1
    drawn = draw_overlay(np.zeros((7, 7, 3), np.float32), maps, np.array([RED, GREEN], np.uint8), None)
    assert drawn[3, 3].tolist() == GREEN
    assert drawn[2, 2].tolist() == [80, 0, 0]


def test_the_images_border_is_no_contour():
    assert contour(np.ones((3, 4), bool)).sum() == 0
    half = np.zeros((3, 4), bool)
    half[:, :2] = True
    assert contour(half).tolist() == [[False, True, False, False]] * 3
