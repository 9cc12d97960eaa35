"""VGG19 with BatchNorm: torchvision's values, from full resolution on."""

import pytest
import torch
import torchvision

from segkit import backbones


@pytest.fixture(scope="module")
def peer():
    """torchvision's features; its classifier of 124 million numbers is of no interest."""
    torch.manual_seed(0)
    with torch.device("meta"):
        network = torchvision.models.vgg19_bn(weights=None)
    network.features.to_empty(device="cpu")
    for layer in network.features:
        if hasattr(layer, "reset_parameters"):
            layer.reset_parameters()
    return network.eval()


@torch.no_grad()
def test_levels_agree_with_torchvision_given_the_same_weights(peer):
    vgg = backbones.create("vgg19_bn", weights=peer.state_dict()).eval()
    image = torch.randn(1, 3, 32, 48)
    x, theirs = image, []
    for layer in peer.features:
        if isinstance(layer, torch.nn.MaxPool2d):
            theirs.append(x)
        x = layer(x)
    assert vgg.strides == (1, 2, 4, 8, 16)
    assert all(torch.equal(ours, level) for ours, level in zip(vgg(image), theirs, strict=True))


def test_weights_start_as_torchvision_s():
    vgg = backbones.create("vgg19_bn", levels=(0, 1))
    weight = vgg.layers[1].get_submodule("7").weight  # 64 to 128 channels
    assert weight.std().item() == pytest.approx((2 / (128 * 9)) ** 0.5, rel=0.02)
    assert vgg.layers[0].get_submodule("0").bias.abs().sum() == 0
