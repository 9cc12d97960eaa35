import math

import pytest
import torch

from segkit.fitting.heldout import HeldOut
from segkit.fitting.temperature import fit_temperature, kept_temperature
from segkit.training.losses import build_loss


def log_loss(task, classes=2):
    return build_loss({"cross_entropy": 1.0}, task=task, classes=classes)


@pytest.mark.parametrize("right", [0.6, 0.9, 0.99])
def test_binary_against_the_closed_form(right):
    """Logits of ±3 that are right with a share q have their optimum where sigmoid(3/T) = q."""
    count = 1000
    target = torch.tensor([1] * 500 + [0] * 500)
    sign = torch.where(target == 1, 1.0, -1.0)
    wrong = torch.arange(count) % 500 >= round(right * 500)
    logits = torch.where(wrong, -sign, sign) * 3
    found = fit_temperature(logits.sigmoid()[None], target, "binary", log_loss("binary"))
    assert found == pytest.approx(3 / math.log(right / (1 - right)), rel=1e-4)


def test_multiclass_against_the_closed_form():
    """Of K classes one has the logit a: the optimum gives it the share of pixels where it is true."""
    classes, a, right, count = 4, 2.0, 0.7, 1000
    target = torch.zeros(count, dtype=torch.int64)
    target[round(right * count) :] = torch.arange(count - round(right * count)) % 3 + 1
    logits = torch.zeros(1, classes, count)
    logits[:, 0] = a
    found = fit_temperature(logits.softmax(1)[0], target, "multiclass", log_loss("multiclass", classes))
    # e^(a/T) / (e^(a/T) + 3) = q
    assert found == pytest.approx(a / math.log(3 * right / (1 - right)), rel=1e-4)


def pictures(count, scale, seed=0):
    """Pixels whose probabilities are right, then made surer or less sure by a scale."""
    generator = torch.Generator().manual_seed(seed)
    found = []
    for i in range(count):
        logits = torch.randn(1, 40, 40, generator=generator) * 2
        target = (torch.rand(40, 40, generator=generator) < logits[0].sigmoid()).long()
        found.append(HeldOut(str(i), (logits * scale).sigmoid()[None], torch.zeros(3, 40, 40), target))
    return found


def test_what_is_too_sure_is_warmed_and_what_is_right_stays():
    units = list(range(6))
    assert kept_temperature(pictures(6, 3.0), units, "binary", log_loss("binary")) == pytest.approx(3, rel=0.1)
    assert kept_temperature(pictures(6, 0.5), units, "binary", log_loss("binary")) == pytest.approx(0.5, rel=0.1)
    # Exactly 1: what noise would fit on five pictures makes the sixth worse.
    assert [kept_temperature(pictures(6, 1.0, seed), units, "binary", log_loss("binary")) for seed in range(4)] == [
        1.0
    ] * 4


def test_one_unit_alone_is_left_as_it_is():
    assert kept_temperature(pictures(3, 3.0), [0, 0, 0], "binary", log_loss("binary")) == 1.0


def test_a_temperature_that_helps_no_other_unit_is_not_kept():
    # One unit is too sure, the other not sure enough: what is fitted on one makes the other worse.
    found = pictures(3, 3.0) + pictures(3, 1 / 3, seed=1)
    assert kept_temperature(found, [0, 0, 0, 1, 1, 1], "binary", log_loss("binary")) == 1.0
