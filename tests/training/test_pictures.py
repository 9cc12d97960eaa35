import cv2
import numpy as np

from segkit.training.curves import draw_curves
from segkit.training.samples import FALSE, HIT, MISS, UNCOUNTED, draw_errors


def test_errors_are_coloured_by_their_kind():
    truth = np.array([[0, 1, 1, 0, 255]], np.uint8)
    labels = np.array([[0, 1, 0, 1, 1]], np.uint8)
    picture = draw_errors(labels, truth, background=0)
    assert [tuple(pixel) for pixel in picture[0].tolist()] == [HIT, HIT, MISS, FALSE, UNCOUNTED]


def test_a_confused_class_counts_as_missed_also_without_background():
    picture = draw_errors(np.array([[2, 0]], np.uint8), np.array([[1, 0]], np.uint8), background=None)
    assert [tuple(pixel) for pixel in picture[0].tolist()] == [MISS, HIT]


def test_a_multilabel_pixel_is_wrong_where_any_map_is():
    truth = np.array([[[0, 1, 255]], [[1, 1, 255]]], np.uint8)
    labels = np.array([[[0, 0, 1]], [[1, 1, 0]]], np.uint8)
    assert [tuple(pixel) for pixel in draw_errors(labels, truth, None)[0].tolist()] == [HIT, MISS, UNCOUNTED]


def test_curves_are_one_panel_for_loss_and_rate_and_one_more_for_a_score(tmp_path):
    rows = [{"epoch": i, "loss": 1 / i, "learning_rate": 0.1, "score": "", "score_name": ""} for i in (1, 2)]
    draw_curves(rows, tmp_path / "two.png")
    draw_curves([{**row, "score": 0.5, "score_name": "dice"} for row in rows], tmp_path / "three.png")
    two, three = (cv2.imread(str(tmp_path / name)).shape[1] for name in ("two.png", "three.png"))
    assert three == 3 * two // 2
