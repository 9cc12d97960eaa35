import numpy as np
import pytest

from segkit.evaluation.thresholds import ThresholdCounts
from segkit.labels import at_temperature, labels_at, labels_of, threshold_at
from segkit.prediction.arrays import collect

CLOSE = np.float32([[[0.986, 0.99, 0.9899999, 0.49999997, 0.5, 1e-7, 1 - 6e-8]]])


@pytest.mark.parametrize("temperature", [0.2, 0.25, 0.7, 1.0, 2.0, 20.0])
@pytest.mark.parametrize("threshold", [0.0, 0.01, 0.3, 0.5, 0.99])
def test_a_temperature_changes_no_label_even_where_it_rounds_probabilities_to_the_same(temperature, threshold):
    spread = np.random.default_rng(0).random((1, 40, 50), dtype=np.float32)
    moved = threshold_at(threshold, temperature)
    for maps in (CLOSE, spread):
        assert np.array_equal(labels_at(maps, temperature, "binary", moved), labels_of(maps, "binary", threshold))
    arrays = collect(
        [CLOSE], CLOSE.shape[1:], task="binary", maps=1, temperature=temperature, threshold=moved, name="x"
    )
    assert np.array_equal(arrays["labels"], labels_of(CLOSE, "binary", threshold))


def test_rounding_alone_would_change_one():
    at = at_temperature(CLOSE, 0.25, "binary")
    assert labels_of(at, "binary", threshold_at(0.99, 0.25))[0, 0] == 1  # sigmoid(17) is 1 in float32
    assert labels_at(CLOSE, 0.25, "binary", threshold_at(0.99, 0.25))[0, 0] == 0


def test_the_most_probable_class_stays_and_each_map_has_its_own_threshold():
    near = np.float32([[[0.3333333]], [[0.33333334]], [[0.3333333]]])
    assert labels_at(near, 20.0, "multiclass") == 1
    maps = np.random.default_rng(1).random((2, 9, 9), dtype=np.float32)
    plain = np.float32([0.2, 0.9]).reshape(2, 1, 1)
    moved = np.float32([threshold_at(each, 3.0) for each in (0.2, 0.9)]).reshape(2, 1, 1)
    assert np.array_equal(labels_at(maps, 3.0, "multilabel", moved), labels_of(maps, "multilabel", plain))


def test_a_threshold_chosen_on_maps_at_a_temperature_means_the_same_of_labels():
    maps = np.float32([[[0.98, 0.98, 0.99, 0.99]]])
    counts = ThresholdCounts(1)
    counts.update(at_temperature(maps, 0.2, "binary"), np.uint8([[0, 0, 1, 1]]))
    (best,) = counts.best()
    assert (
        labels_at(maps, 0.2, "binary", best)[0].tolist()
        == labels_of(at_temperature(maps, 0.2, "binary"), "binary", best)[0].tolist()
    )


def test_thresholds_next_to_nothing_move_without_an_error():
    assert 0 <= threshold_at(1e-16, 1 / 20) < 1e-300
    assert labels_at(np.float32([[[0.5]]]), 20.0, "binary", 1e-16) == 1
