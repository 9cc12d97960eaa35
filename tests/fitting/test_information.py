import math

import pytest
import torch

from segkit.fitting.information import information
from segkit.statistics import logits_of, probabilities_of
from segkit.training.losses import build_loss


def log_loss(task, maps):
    return build_loss({"cross_entropy": 1.0}, task=task, classes=max(maps, 2))


def calibrated():
    """1,000 pixels, of which four in five that are said to be 0.8 are, and one in five that are said to be 0.2."""
    said = torch.tensor([0.8, 0.2]).repeat_interleave(500)
    target = torch.cat([torch.arange(500) < 400, torch.arange(500) < 100]).long()
    return said[None], target


@pytest.mark.parametrize(("steepness", "shift"), [(1, 0), (0.1, 0), (3, 5), (2, -4)])
def test_what_a_calibrated_member_tells_however_it_is_distorted(steepness, shift):
    said, target = calibrated()
    left = -(0.8 * math.log(0.8) + 0.2 * math.log(0.2))
    distorted = probabilities_of(steepness * logits_of(said, "binary") + shift, "binary")
    found = information(distorted, target, "binary", log_loss("binary", 1))
    assert found == pytest.approx(1 - left / math.log(2), abs=1e-3)


def test_the_contrary_of_the_truth_tells_nothing_and_one_class_leaves_nothing_to_tell():
    said, target = calibrated()
    assert information(1 - said, target, "binary", log_loss("binary", 1)) == 0
    assert information(said, torch.zeros_like(target), "binary", log_loss("binary", 1)) == 1
    assert information(torch.full_like(said, 0.3), target, "binary", log_loss("binary", 1)) == pytest.approx(
        0, abs=1e-6
    )


@pytest.mark.parametrize(("task", "maps"), [("binary", 1), ("multilabel", 2), ("multiclass", 3)])
@pytest.mark.parametrize("center", [-2.0, -0.85, 0.0, 2.0])
@pytest.mark.parametrize("spread", [0.05, 2.0])
def test_noise_around_anything_tells_nothing(task, maps, center, spread):
    generator = torch.Generator().manual_seed(5)
    if task == "multiclass":
        target = torch.randint(3, (4000,), generator=generator)
        centers = torch.tensor([0.0, center, 1.0])[:, None]
    else:
        target = (torch.rand(maps, 4000, generator=generator) < 0.3).float()
        target, centers = (target[0].long() if task == "binary" else target), center
    logits = centers + spread * torch.randn(maps, 4000, generator=generator)
    assert information(probabilities_of(logits[None], task)[0], target, task, log_loss(task, maps)) < 0.005
