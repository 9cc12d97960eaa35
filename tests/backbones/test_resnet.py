"""ResNet: torchvision's layers as a pyramid of five levels."""

import copy

import pytest
import torch
import torchvision

from segkit import backbones

NAMES = [name for name in backbones.names() if name.startswith("resnet")]


@pytest.fixture(scope="module")
def peer():
    torch.manual_seed(0)
    return torchvision.models.resnet18(weights=None).eval()


@pytest.fixture(scope="module")
def resnet18(peer):
    return backbones.create("resnet18", weights=peer.state_dict()).eval()


@torch.no_grad()
def test_levels_agree_with_torchvision_given_the_same_weights(peer, resnet18):
    image = torch.randn(1, 3, 65, 97)
    x = peer.relu(peer.bn1(peer.conv1(image)))
    expected = [x]
    x = peer.maxpool(x)
    for layer in (peer.layer1, peer.layer2, peer.layer3, peer.layer4):
        x = layer(x)
        expected.append(x)
    assert all(torch.equal(level, reference) for level, reference in zip(resnet18(image), expected, strict=True))


@torch.no_grad()
def test_timms_weights_give_timms_levels():
    import timm

    network = timm.create_model("resnet18").eval()
    for norm in (module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)):
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
    resnet = backbones.create("resnet18", weights=network.state_dict()).eval()
    assert resnet.pretrained.unused == ("fc.weight", "fc.bias")
    image = torch.randn(1, 3, 64, 96)
    for level, reference in zip(
        resnet(image), network.forward_intermediates(image, intermediates_only=True), strict=True
    ):
        torch.testing.assert_close(level, reference)


@pytest.mark.parametrize("name", NAMES)
def test_parameters_are_torchvisions_less_the_classifier(name):
    with torch.device("meta"):
        peer, resnet = torchvision.models.get_model(name, weights=None), backbones.create(name)
    expected = sum(p.numel() for p in peer.parameters()) - sum(p.numel() for p in peer.fc.parameters())
    assert sum(p.numel() for p in resnet.parameters()) == expected


@pytest.mark.parametrize("name", NAMES)
def test_channels_and_strides_are_true(name):
    with torch.device("meta"):
        resnet = backbones.create(name)
        levels = resnet(torch.empty(2, 3, 97, 130))
    sizes = [(2, c, -(-97 // s), -(-130 // s)) for c, s in zip(resnet.channels, resnet.strides, strict=True)]
    assert [tuple(level.shape) for level in levels] == sizes


@pytest.mark.parametrize("channels", [1, 3, 4])
@torch.no_grad()
def test_any_size_and_channels(channels):
    resnet = backbones.create("resnet18", in_channels=channels).eval()
    for height, width in ((33, 47), (97, 130), (1, 1), (2, 5)):
        levels = resnet(torch.randn(1, channels, height, width))
        sizes = [(1, c, -(-height // s), -(-width // s)) for c, s in zip(resnet.channels, resnet.strides, strict=True)]
        assert [tuple(level.shape) for level in levels] == sizes


@torch.no_grad()
def test_selected_levels_are_the_same_maps_and_coarser_layers_are_not_kept(resnet18):
    part = backbones.create("resnet18", levels=(0, 2), weights=resnet18.state_dict()).eval()
    image = torch.randn(1, 3, 33, 47)
    assert (part.channels, part.strides, len(part.stages)) == ((64, 128), (2, 8), 3)
    expected = resnet18(image)
    assert all(torch.equal(a, b) for a, b in zip(part(image), (expected[0], expected[2]), strict=True))


@torch.no_grad()
def test_the_finest_level_alone_needs_no_layer():
    resnet = backbones.create("resnet18", levels=(0,)).eval()
    assert [tuple(level.shape) for level in resnet(torch.randn(1, 3, 8, 8))] == [(1, 64, 4, 4)]
    assert len(resnet.stages) == 1


def test_stages_run_from_the_input_and_cover_every_parameter():
    resnet = backbones.create("resnet18")
    assert len(resnet.stages) == 5
    assert [p for stage in resnet.stages for p in stage.parameters()] == list(resnet.parameters())


def test_every_parameter_learns():
    resnet = backbones.create("resnet18", in_channels=1)
    sum((level**2).sum() for level in resnet(torch.randn(2, 1, 33, 47))).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in resnet.parameters())


@torch.no_grad()
def test_a_copy_is_equal(resnet18):
    image = torch.randn(1, 3, 33, 47)
    twin = copy.deepcopy(resnet18)
    assert all(torch.equal(a, b) for a, b in zip(resnet18(image), twin(image), strict=True))
