import numpy as np

from segkit.drawing.heat import draw_heat


def test_heat_rises_from_black_to_pale_yellow_and_is_clipped():
    heat = draw_heat(np.array([[0.0, 0.5, 1.0, 2.0]], np.float32))
    assert heat.dtype == np.uint8
    assert heat[0, [0, 2, 3]].tolist() == [[0, 0, 3], [251, 252, 191], [251, 252, 191]]
    assert heat[0, 0].sum() < heat[0, 1].sum() < heat[0, 2].sum()
