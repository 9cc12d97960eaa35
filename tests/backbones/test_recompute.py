"""Gradient checkpointing: less is kept, and nothing else changes."""

import copy

import pytest
import torch
from torch import nn

from segkit import backbones
from segkit.backbones.recompute import recompute_stages
from segkit.backbones.stem import Stem, Stemmed
from segkit.backbones.swin import Swin

SWIN = {"embed_dim": 8, "depths": (2, 2), "heads": (1, 2), "window": 3, "drop_path": 0.5}
BUILDS = {
    "swin": lambda: Swin(**SWIN),
    "stemmed": lambda: Stemmed(Swin(**SWIN), width=4),
    "resnet": lambda: backbones.create("resnet18", levels=(0, 1, 2)),
    "timm": lambda: backbones.create("timm:resnet10t"),
    "joint": lambda: backbones.create("joint", of=["resnet18", "timm:resnet10t"]),
    "hrnet": lambda: backbones.create("timm:hrnet_w18_small"),  # its parts write into the lists that they are given
}


def pair(name):
    """The same backbone twice, the second one computing its stages again."""
    torch.manual_seed(0)
    plain = BUILDS[name]()
    again = copy.deepcopy(plain)
    recompute_stages(again)
    return plain, again


def learn(backbone, image):
    """The levels, after a backward pass, and how many numbers were kept for it."""
    kept = []
    torch.manual_seed(1)  # the same paths are dropped
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, lambda t: t):
        levels = backbone(image)
    sum((level**2).sum() for level in levels).backward()
    return levels, sum(kept)


@pytest.mark.parametrize("name", BUILDS)
def test_levels_gradients_statistics_and_random_numbers_are_equal(name):
    plain, again = pair(name)
    image = torch.randn(2, 3, 33, 47)
    expected, _ = learn(plain, image)
    drawn = torch.rand(1)
    levels, _ = learn(again, image)
    assert torch.equal(torch.rand(1), drawn)
    assert all(torch.equal(a, b) for a, b in zip(levels, expected, strict=True))
    for (key, ours), theirs in zip(again.named_parameters(), plain.parameters(), strict=True):
        assert torch.equal(ours.grad, theirs.grad), key
    for key, value in plain.state_dict().items():  # running statistics, and how many batches they are of
        assert torch.equal(again.state_dict()[key], value), key


@pytest.mark.parametrize("momentum", [0.1, None])
def test_statistics_are_updated_once(momentum):
    stem, image = Stem(width=4), torch.randn(2, 3, 8, 8)
    norm = stem.stages[0][1]
    norm.momentum = momentum
    recompute_stages(stem)
    sum(level.sum() for level in stem(image)).backward()
    assert norm.num_batches_tracked == 1
    share = 1.0 if momentum is None else momentum
    torch.testing.assert_close(norm.running_mean, share * stem.stages[0][0](image).mean((0, 2, 3)))


@pytest.mark.parametrize("name", ["swin", "resnet"])
def test_less_is_kept(name):
    plain, again = pair(name)
    image = torch.randn(2, 3, 64, 64)
    assert learn(again, image)[1] < 0.3 * learn(plain, image)[1]


def test_what_a_forward_pass_outside_training_does_is_the_same():
    plain, again = pair("resnet")
    image = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        assert all(torch.equal(a, b) for a, b in zip(plain.eval()(image), again.eval()(image), strict=True))


def test_a_copy_computes_with_its_own_weights():
    _, swin = pair("swin")
    twin = copy.deepcopy(swin).eval()
    swin.eval()
    image = torch.randn(1, 3, 16, 16)
    before = swin(image)
    for parameter in twin.parameters():
        nn.init.zeros_(parameter)
    assert all(level.abs().sum() == 0 for level in twin(image))
    assert all(torch.equal(a, b) for a, b in zip(swin(image), before, strict=True))


def test_names_of_tensors_stay():
    plain, again = pair("stemmed")
    assert again.state_dict().keys() == plain.state_dict().keys()


def test_frozen_stages_go_with_it():
    plain, again = pair("resnet")
    for backbone in (plain, again):
        backbone.freeze(1)
        learn(backbone.train(), torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)))
    for ours, theirs in zip(again.parameters(), plain.parameters(), strict=True):
        assert (ours.grad is None) == (theirs.grad is None)
        assert ours.grad is None or torch.equal(ours.grad, theirs.grad)


def test_under_bfloat16_autocast_gradients_are_equal_too():
    plain, again = pair("swin")
    image = torch.randn(2, 3, 17, 19)
    with torch.autocast("cpu", torch.bfloat16):
        learn(plain, image)
        learn(again, image)
    assert all(torch.equal(a.grad, b.grad) for a, b in zip(again.parameters(), plain.parameters(), strict=True))
