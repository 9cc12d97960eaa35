import numpy as np

from segkit.drawing.error_picture import FOUND, IGNORED, INVENTED, MISSED, NOTHING, draw_errors


def colours(labels, target, background=None):
    picture = draw_errors(np.array(labels, np.uint8), np.array(target, np.uint8), background)
    assert picture.dtype == np.uint8
    return [tuple(pixel) for pixel in picture[0].tolist()]


def test_errors_are_coloured_by_their_kind():
    found = colours([[0, 1, 0, 1, 1]], [[0, 1, 1, 0, 255]], background=0)
    assert found == [NOTHING, FOUND, MISSED, INVENTED, IGNORED]


def test_a_confused_class_counts_as_missed_also_without_background():
    assert colours([[2, 0, 1]], [[1, 0, 0]], background=None) == [MISSED, FOUND, MISSED]
    assert colours([[2, 1, 0]], [[1, 1, 2]], background=1) == [INVENTED, NOTHING, MISSED]


def test_a_multilabel_pixel_shows_the_worst_of_its_maps():
    target = [[[0, 1, 1, 0, 1, 255, 255]], [[0, 0, 1, 0, 0, 1, 255]]]
    labels = [[[0, 1, 1, 0, 0, 0, 0]], [[0, 0, 0, 1, 1, 1, 1]]]
    assert colours(labels, target) == [NOTHING, FOUND, MISSED, INVENTED, MISSED, FOUND, IGNORED]
