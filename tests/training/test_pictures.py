import cv2

from segkit.training.curves import draw_curves


def test_curves_are_one_panel_for_loss_and_rate_and_one_more_for_a_score(tmp_path):
    rows = [{"epoch": i, "loss": 1 / i, "learning_rate": 0.1, "score": "", "score_name": ""} for i in (1, 2)]
    draw_curves(rows, tmp_path / "two.png")
    draw_curves([{**row, "score": 0.5, "score_name": "dice"} for row in rows], tmp_path / "three.png")
    two, three = (cv2.imread(str(tmp_path / name)).shape[1] for name in ("two.png", "three.png"))
    assert three == 3 * two // 2
