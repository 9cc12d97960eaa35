"""Rounded weights: the same model but for roundings, and in bf16 the same as in fp32."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

import segkit
from segkit.folding import fold_norms
from segkit.model import Segmenter
from segkit.training.rounding import round_weights

MODELS = {
    "resnet": {"backbone": "resnet18", "neck": {"name": "fpn", "width": 16}},
    "swin": {"backbone": {"name": "swin", "embed_dim": 8, "depths": [2, 2], "heads": [1, 2]}, "neck": "unet"},
    "transposed": {"backbone": {"name": "stem", "width": 8, "depth": 2}, "neck": "unet", "head": "transposed"},
}


@pytest.fixture(params=MODELS)
def model(request):
    """A model whose norms have seen something, some of their gains negative or zero."""
    torch.manual_seed(0)
    segmenter = Segmenter.create(classes=["background", "cell"], **MODELS[request.param]).train()
    with torch.no_grad():
        for norm in segmenter.modules():
            if isinstance(norm, nn.BatchNorm2d):
                norm.weight.uniform_(0.5, 1.5)
                norm.weight[0], norm.weight[1] = -1, 0
                norm.bias.normal_()
        for _ in range(3):
            segmenter(torch.rand(4, 3, 64, 96))
    return segmenter.eval()


@torch.no_grad()
def test_it_says_the_same_but_for_the_rounding(model):
    image = torch.rand(2, 3, 64, 96)
    before = model.probabilities(image)
    round_weights(model)
    torch.testing.assert_close(model.probabilities(image), before, atol=0.03, rtol=0)


@torch.no_grad()
def test_folded_and_in_low_precision_weights_stay_what_they_are(model):
    round_weights(model)
    folded = copy.deepcopy(model)
    assert fold_norms(folded, lambda each: each.statistics(torch.zeros(1, 3, 64, 64))) > 0
    own = dict(model.named_modules())
    for name, module in folded.named_modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            assert torch.equal(module.weight.bfloat16(), own[name].weight.bfloat16())
            for parameter in module.parameters(recurse=False):
                torch.testing.assert_close(parameter, parameter.bfloat16().float(), atol=1e-7, rtol=1e-5)


@torch.no_grad()
def test_bf16_is_nearer_to_fp32_than_before(model):
    pixels = np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)

    def apart(segmenter):
        low, exact = (segkit.Predictor(segmenter, precision=p).predict(pixels).probabilities for p in ("bf16", "fp32"))
        return np.abs(low - exact).mean()

    rounded = copy.deepcopy(model)
    round_weights(rounded)
    assert apart(rounded) < apart(model)


def test_what_is_frozen_stays_as_it_is(model):
    model.backbone.requires_grad_(False)
    before = copy.deepcopy(model.backbone.state_dict())
    round_weights(model)
    after = model.backbone.state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())
    weight = model.head.classify.weight if hasattr(model.head, "classify") else next(model.head.parameters())
    assert torch.equal(weight, weight.bfloat16().float())


def test_rounding_twice_changes_nothing(model):
    round_weights(model)
    before = copy.deepcopy(model.state_dict())
    round_weights(model)
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(tensor, before[name], atol=1e-7, rtol=1e-6)


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_training_in_bf16_ends_with_it(precision, cells, recipe, tmp_path):
    short = recipe(members=["only"], train={"precision": precision, "epochs": 1})
    model = segkit.train(short, cells, out=tmp_path, console=False).model
    layers = [part for part in model.modules() if isinstance(part, nn.Conv2d | nn.Linear)]
    exact = [torch.equal(layer.weight, layer.weight.bfloat16().float()) for layer in layers]
    assert all(exact) == (precision == "bf16")


@torch.no_grad()
def test_the_norms_of_a_depth_backbone_are_found_too():
    torch.manual_seed(0)
    stem = {"name": "stem", "width": 4, "depth": 2}
    model = Segmenter.create(stem, neck="unet", depth=stem, encoding={"name": "plain"}, classes=2).eval()
    for norm in (each for each in model.modules() if isinstance(each, nn.BatchNorm2d)):
        norm.running_var.fill_(3.0)
    round_weights(model)
    for branch in (model.backbone.colour, model.backbone.depth):
        norms = [each for each in branch.modules() if isinstance(each, nn.BatchNorm2d)]
        assert norms
        for norm in norms:  # their gain is the convolution's now
            torch.testing.assert_close(norm.weight, (norm.running_var + norm.eps).sqrt())
            assert not torch.allclose(norm.running_var, torch.tensor(3.0))
