import numpy as np
import pytest

from segkit.prediction.npy import npy_rows


@pytest.mark.parametrize("shape", [(7, 5), (3, 7, 5)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_rows_in_any_order_make_the_array(tmp_path, shape, dtype):
    whole = (np.random.default_rng(0).random(shape) * 200).astype(dtype)
    with npy_rows(tmp_path / "x.npy", dtype, shape) as file:
        for top, bottom in ((4, 7), (0, 1), (1, 4)):
            file.write(top, whole[..., top:bottom, :])
    found = np.load(tmp_path / "x.npy")
    assert found.dtype == dtype
    assert np.array_equal(found, whole)


def test_what_is_not_written_is_zero_and_a_failed_block_leaves_nothing(tmp_path):
    with npy_rows(tmp_path / "x.npy", np.float32, (4, 2)) as file:
        file.write(1, np.ones((1, 2)))
    assert np.load(tmp_path / "x.npy").sum(1).tolist() == [0, 2, 0, 0]
    with pytest.raises(KeyError), npy_rows(tmp_path / "y.npy", np.float32, (4, 2)):
        raise KeyError
    assert [file.name for file in tmp_path.iterdir()] == ["x.npy"]
