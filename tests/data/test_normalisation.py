import cv2
import numpy as np
import pytest

from segkit.data.folder import Sample
from segkit.data.normalisation import PICTURES, channel_statistics
from segkit.data.reader import Reader


def samples(folder, pictures):
    for i, pixels in enumerate(pictures):
        cv2.imwrite(str(folder / f"{i}.png"), pixels)
    return [Sample(str(i), folder / f"{i}.png") for i in range(len(pictures))]


def test_mean_and_deviation_over_all_pixels_in_red_green_blue_order(tmp_path):
    pictures = [np.full((2, 3, 3), (0, 51, 255), np.uint8), np.full((4, 3, 3), (0, 51, 0), np.uint8)]  # blue first
    mean, deviation = channel_statistics(samples(tmp_path, pictures), Reader())
    assert mean == pytest.approx([1 / 3, 0.2, 0])
    assert deviation[0] == pytest.approx((1 / 3 * 2 / 3) ** 0.5, abs=1e-6)
    assert deviation[1:] == [1.0, 1.0]  # constant channels are left as they are


def test_many_pictures_are_sampled_evenly(tmp_path, monkeypatch):
    read = []
    monkeypatch.setattr(Reader, "read", lambda _, path: read.append(int(path)) or np.zeros((1, 1, 3), np.float32))
    channel_statistics([Sample(str(i), i) for i in range(2 * PICTURES)], Reader())
    assert read == list(range(0, 2 * PICTURES, 2))
