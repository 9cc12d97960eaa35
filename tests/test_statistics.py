import math

import pytest
import torch

from segkit.statistics import entropy, maximum_entropy


def pixel(*probabilities):
    return torch.tensor(probabilities).view(1, -1, 1, 1)


@pytest.mark.parametrize(
    ("task", "probabilities", "nats"),
    [
        ("binary", (0.5,), math.log(2)),
        ("binary", (0.25,), 0.25 * math.log(4) + 0.75 * math.log(4 / 3)),
        ("multiclass", (0.5, 0.25, 0.25), 1.5 * math.log(2)),
        ("multiclass", (0.25, 0.25, 0.25, 0.25), math.log(4)),
        ("multilabel", (0.5, 1.0), math.log(2) / 2),
    ],
)
def test_values_worked_out_by_hand(task, probabilities, nats):
    found = entropy(pixel(*probabilities), task)
    assert found.shape == (1, 1, 1)
    assert found.item() == pytest.approx(nats, abs=1e-7)


@pytest.mark.parametrize("task", ["binary", "multilabel", "multiclass"])
def test_certainty_is_exactly_zero(task):
    assert entropy(pixel(0.0, 1.0, 0.0), task).item() == 0.0


def test_a_rounding_error_above_one_is_certainty():
    assert entropy(pixel(1.0000001, 0.0), "multiclass").item() == 0.0


def test_half_precision_is_answered_in_float32():
    found = entropy(pixel(0.5).bfloat16(), "binary")
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(math.log(2))


def test_the_maximum_is_reached_by_the_uniform_distribution():
    assert maximum_entropy("multiclass", 5) == pytest.approx(entropy(pixel(*[0.2] * 5), "multiclass").item(), abs=1e-6)
    assert maximum_entropy("multilabel", 5) == pytest.approx(entropy(pixel(*[0.5] * 5), "multilabel").item(), abs=1e-6)
    assert maximum_entropy("binary", 1) == math.log(2)


def test_an_unknown_task_is_refused():
    with pytest.raises(ValueError, match="unknown task 'panoptic'; expected 'binary'"):
        entropy(pixel(0.5), "panoptic")
