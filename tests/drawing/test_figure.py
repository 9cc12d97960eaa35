import cv2
import pytest
from matplotlib.figure import Figure

from segkit.drawing.figure import save_figure


def test_a_figure_is_written_at_its_size_and_letters_without_a_glyph_bring_no_warning(tmp_path, recwarn):
    figure = Figure(figsize=(2, 1))
    figure.suptitle("犬")
    save_figure(figure, tmp_path / "x.png", dpi=50)
    assert cv2.imread(str(tmp_path / "x.png")).shape == (50, 100, 3)
    assert not list(recwarn)


def test_nothing_is_left_of_a_figure_that_can_not_be_drawn(tmp_path):
    figure = Figure()
    figure.suptitle("$\\nothing$")  # no formula
    with pytest.raises(ValueError, match="nothing"):
        save_figure(figure, tmp_path / "x.png")
    assert not list(tmp_path.iterdir())
