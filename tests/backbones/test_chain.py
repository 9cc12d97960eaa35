"""Chains: one level a stage, torchvision's names, and a first convolution for any image."""

import pytest
import torch
import torchvision
from torch import nn

from segkit import backbones
from segkit.backbones.chain import Chain, fit_channels

CHAINS = ("alexnet", "densenet121", "densenet201", "inception_v3", "squeezenet1_1", "vgg19_bn")


def small(**options):
    stages = [nn.Sequential(nn.Conv2d(3 if i == 0 else 4, 4, 3, 2, 1)) for i in range(3)]
    return Chain(stages, (4, 4, 4), (2, 4, 8), in_channels=3, **{"levels": None, **options})


@pytest.mark.parametrize("name", CHAINS)
def test_torchvision_s_names_are_all_understood(name):
    with torch.device("meta"):
        extra = {"init_weights": False} if name == "inception_v3" else {}
        peer, backbone = torchvision.models.get_model(name, weights=None, **extra), backbones.create(name)
    found = {key: value.shape for key, value in backbone.own_names(peer.state_dict()).items()}
    needed = {key: value.shape for key, value in backbone.state_dict().items()}
    assert {key: found.get(key) for key in needed} == needed
    assert not [key for key in found if key.startswith(("classifier", "fc", "AuxLogits"))]


@pytest.mark.parametrize("name", CHAINS)
def test_imagenet_stands_for_torchvision_s_default_weights(name, monkeypatch):
    def refuse(self, *args, **kwargs):
        raise ConnectionError("no network")

    monkeypatch.setattr(torchvision.models.WeightsEnum, "get_state_dict", refuse)
    entry = torchvision.models.get_model_weights(name).DEFAULT
    with torch.device("meta"), pytest.raises(ValueError, match=f"{entry} can't be had"):
        backbones.create(name, weights="imagenet")


@pytest.mark.parametrize("name", CHAINS)
def test_own_names_pass_unchanged(name):
    with torch.device("meta"):
        backbone = backbones.create(name)
    assert backbone.own_names(backbone.state_dict()).keys() == backbone.state_dict().keys()


@torch.no_grad()
def test_selected_levels_are_the_same_maps_and_coarser_stages_are_not_kept():
    whole, image = small().eval(), torch.randn(1, 3, 17, 19)
    part = small(levels=(1,)).eval()
    part.load_state_dict({key: value for key, value in whole.state_dict().items() if not key.startswith("layers.2")})
    assert (part.channels, part.strides, len(part.stages)) == ((4,), (4,), 2)
    assert torch.equal(part(image)[0], whole(image)[1])


def test_weights_of_all_stages_fill_a_part_of_them():
    peer = torchvision.models.squeezenet1_1(weights=None)
    part = backbones.create("squeezenet1_1", weights=peer.state_dict(), levels=(0, 1), in_channels=1)
    assert torch.equal(part.layers[0].get_submodule("0").weight, peer.features[0].weight.sum(1, keepdim=True))
    assert torch.equal(part.layers[1].get_submodule("3").squeeze.weight, peer.features[3].squeeze.weight)


def test_a_convolution_that_fits_is_left_alone():
    convolution = nn.Conv2d(3, 8, 3)
    assert fit_channels(convolution, 3) is convolution


def test_a_fresh_one_differs_in_its_inputs_alone_and_answers_as_loudly():
    torch.manual_seed(0)
    old = nn.Conv2d(3, 512, 5, stride=2, padding=1)
    new = fit_channels(old, 12)
    assert new.weight.shape == (512, 12, 5, 5)
    assert (new.stride, new.padding) == ((2, 2), (1, 1))
    assert torch.equal(new.bias, old.bias)
    assert new.weight.std().item() == pytest.approx(old.weight.std().item() / 2, rel=0.02)
    assert fit_channels(nn.Conv2d(3, 8, 3, bias=False), 1).bias is None
