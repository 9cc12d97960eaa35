"""PNGs hold what they were given."""

import cv2
import numpy as np
import pytest

from segkit.data.png import png_bytes
from segkit.errors import DataError


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 1), (4, 5, 3)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_values_come_back_and_red_comes_first(shape, dtype, tmp_path):
    pixels = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape).astype(dtype)
    (tmp_path / "a.png").write_bytes(png_bytes(pixels, tmp_path / "a.png"))
    found = cv2.imread(str(tmp_path / "a.png"), cv2.IMREAD_UNCHANGED)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found[..., ::-1] if len(shape) == 3 and shape[2] == 3 else found, pixels.squeeze())


def test_what_is_no_picture_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"^a\.png: can't be written as PNG"):
        png_bytes(np.zeros((0, 3), np.uint8), tmp_path / "a.png")
