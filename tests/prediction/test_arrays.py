import numpy as np
import pytest
import torch

from segkit.errors import ModelError
from segkit.prediction.arrays import blendable, collect
from segkit.statistics import PixelStatistics

WHOLE = np.random.default_rng(0).random((3, 7, 5), dtype=np.float32)  # two maps, entropy within the members
BANDS = [WHOLE[:, :3], WHOLE[:, 3:4], WHOLE[:, 4:]]
ENTROPY = -(WHOLE[:2] * np.log(WHOLE[:2])).sum(0)


def test_what_is_blended_is_the_probabilities_and_the_entropy_within_the_members():
    probabilities, entropy = torch.rand(2, 3, 4, 5), torch.full((2, 4, 5), 0.75)
    assert torch.equal(blendable(PixelStatistics(probabilities, entropy)), probabilities)
    stacked = blendable(PixelStatistics(probabilities, entropy, mutual_information=entropy - 0.5))
    assert torch.equal(stacked[:, :3], probabilities)
    assert torch.equal(stacked[:, 3], torch.full((2, 4, 5), 0.5))


def test_bands_are_laid_under_one_another():
    arrays = collect(BANDS, (7, 5), task="multiclass", maps=2, threshold=0.5, name="x")
    assert np.array_equal(arrays["probabilities"], WHOLE[:2])
    np.testing.assert_allclose(arrays["entropy"], ENTROPY, atol=1e-6)
    np.testing.assert_allclose(arrays["disagreement"], np.maximum(ENTROPY - WHOLE[2], 0), atol=1e-6)
    assert np.array_equal(arrays["labels"], WHOLE[1] > WHOLE[0])
    assert arrays["labels"].dtype == np.uint8


def test_a_single_model_has_no_disagreement():
    arrays = collect([band[:2] for band in BANDS], (7, 5), task="multilabel", maps=2, threshold=0.3, name="x")
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
