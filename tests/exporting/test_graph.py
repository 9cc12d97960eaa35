import numpy as np
import pytest
import torch

from segkit.data.reader import Reader
from segkit.exporting.check import random_pixels, scaled
from segkit.exporting.graph import Scaling, pixel_type

CASES = [
    (Reader(), "uint8"),
    (Reader(channels=1), "uint16"),
    (Reader(channels=4), "float32"),
    (Reader(channels=1, window=(20, 200)), "uint8"),
    (Reader(channels=1, window=(-1000, 400)), "float32"),
    (Reader(window="picture"), "uint8"),
    (Reader(channels=2, window="picture"), "uint16"),
]


@pytest.mark.parametrize(("reader", "pixels"), CASES, ids=str)
@pytest.mark.parametrize("size", [(1, 33, 35), (3, 64, 97)])
def test_scaling_inside_the_graph_is_the_readers_picture_by_picture(reader, pixels, size):
    given = random_pixels(reader, pixels, size, seed=0)
    if given.dtype == torch.uint8:
        given[0] = given[0] // 3 + 40  # every picture has a range of its own
    expected = torch.stack([scaled(reader, picture) for picture in given])
    torch.testing.assert_close(Scaling(reader, pixels)(given), expected, atol=1e-6, rtol=0)


def test_a_constant_picture_of_its_own_window_is_black():
    given = torch.full((1, 40, 40, 1), 7, dtype=torch.uint8)
    assert not Scaling(Reader(channels=1, window="picture"), "uint8")(given).any()


@pytest.mark.parametrize(
    ("window", "expected"),
    [(None, "uint8"), ("picture", "uint8"), ((0, 255), "uint8"), ((0, 256), "uint16"), ((-1, 5), "float32")],
)
def test_the_type_that_goes_in_holds_the_window(window, expected):
    assert pixel_type(Reader(window=window)) == expected


def test_random_pixels_fill_the_window():
    drawn = random_pixels(Reader(channels=1, window=(300, 400)), "uint16", (1, 64, 64), seed=0).numpy()
    assert (drawn.min(), drawn.max()) == (300, 400)
    assert drawn.dtype == np.uint16


@pytest.mark.parametrize("window", [(0.0, 1.0), (0.2, 0.8), (0.5, 200.0)])
def test_pixels_that_are_fractions_stay_fractions(window):
    assert pixel_type(Reader(window=window)) == "float32"
