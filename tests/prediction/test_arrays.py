import numpy as np
import pytest

from segkit.errors import ModelError
from segkit.prediction.arrays import collect

WHOLE = np.random.default_rng(0).random((4, 7, 5), dtype=np.float32)  # two maps, entropy, disagreement
BANDS = [WHOLE[:, :3], WHOLE[:, 3:4], WHOLE[:, 4:]]


def test_bands_are_laid_under_one_another():
    arrays = collect(BANDS, (7, 5), task="multiclass", maps=2, threshold=0.5, name="x")
    assert np.array_equal(arrays["probabilities"], WHOLE[:2])
    assert np.array_equal(arrays["entropy"], WHOLE[2])
    assert np.array_equal(arrays["disagreement"], WHOLE[3])
    assert np.array_equal(arrays["labels"], WHOLE[1] > WHOLE[0])
    assert arrays["labels"].dtype == np.uint8


def test_a_single_model_has_no_disagreement():
    arrays = collect([band[:3] for band in BANDS], (7, 5), task="multilabel", maps=2, threshold=0.3, name="x")
    assert set(arrays) == {"labels", "probabilities", "entropy"}
    assert np.array_equal(arrays["labels"], WHOLE[:2] >= 0.3)


def test_in_a_folder_they_are_read_only_memory_maps_of_whole_files(tmp_path):
    arrays = collect(BANDS, (7, 5), task="multiclass", maps=2, threshold=0.5, name="x", out=tmp_path / "new")
    assert all(isinstance(array, np.memmap) and not array.flags.writeable for array in arrays.values())
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == [
        "x_disagreement.npy",
        "x_entropy.npy",
        "x_labels.npy",
        "x_probabilities.npy",
    ]
    assert np.array_equal(np.load(tmp_path / "new" / "x_probabilities.npy"), WHOLE[:2])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused_and_leave_no_file(tmp_path, value):
    broken = WHOLE[:, 4:].copy()
    broken[0, 1, 1] = value
    with pytest.raises(ModelError, match="x: the model gives values that are not finite"):
        collect([*BANDS[:2], broken], (7, 5), task="multiclass", maps=2, threshold=0.5, name="x", out=tmp_path)
    assert not list(tmp_path.iterdir())
