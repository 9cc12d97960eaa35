"""Other libraries' networks: watched once, then any size in and true levels out."""

import pytest
import torch
from torch import nn

from segkit.backbones.foreign import Foreign, Trial, drop_unused, watch

TRIALS = (Trial((16, 24), (8, 8)), Trial((12, 24), (12, 12)), Trial((12, 12), (12, 12), fixed=True))


class Network(nn.Module):
    """Maps of strides 2, 4 and 4 again behind the image itself and a map without channels, as the libraries' can be."""

    def __init__(self, *, accepts=lambda *_: True, padding=1):
        super().__init__()
        self.accepts = accepts
        self.table = nn.Parameter(torch.ones(1))
        self.first = nn.Conv2d(3, 5, 3, 2, padding)
        self.second = nn.ModuleList([nn.Conv2d(5, 6, 3, 2, 1), nn.Conv2d(6, 7, 3, 1, 1)])
        self.classifier = nn.Linear(7, 10)

    def forward(self, image):
        if not self.accepts(*image.shape[-2:]):
            raise AssertionError("not this size\nsecond line")
        half = self.first(image) * self.table
        quarter = self.second[0](half)
        return [image, image[:, :0, ::2, ::2], half, quarter, self.second[1](quarter)]


class Backwards(Network):
    def forward(self, image):
        return [level.permute(0, 2, 3, 1) for level in super().forward(image)[2:]]


def foreign(network, levels=None, channels_last=False):
    behaviour = watch("lib:net", network, TRIALS, in_channels=3, channels_last=channels_last)
    return Foreign(
        "lib:net", network, behaviour, in_channels=3, levels=levels, channels_last=channels_last, pretrained=False
    )


def test_the_image_empty_maps_and_earlier_ones_of_a_stride_are_no_levels():
    backbone = foreign(Network())
    assert (backbone.channels, backbone.strides, backbone.places) == ((5, 7), (2, 4), (2, 4))


@torch.no_grad()
def test_levels_are_those_of_the_image_filled_up_with_zeros_cropped():
    network, image = Network(), torch.randn(2, 3, 9, 13)
    filled = torch.zeros(2, 3, 16, 16)
    filled[..., :9, :13] = image
    half, quarter = foreign(network)(image)
    assert torch.equal(half, network(filled)[2][..., :5, :7])
    assert torch.equal(quarter, network(filled)[4][..., :3, :4])


@torch.no_grad()
def test_channels_last_are_turned_to_the_front():
    torch.manual_seed(0)
    plain, turned = Network(), Backwards()
    turned.load_state_dict(plain.state_dict())
    image = torch.randn(1, 3, 9, 13)
    backbone = foreign(turned, channels_last=True)
    assert backbone.channels == (5, 7)
    assert all(torch.equal(a, b) for a, b in zip(backbone(image), foreign(plain)(image), strict=True))


def test_sides_are_filled_up_to_what_the_network_accepts():
    backbone = foreign(Network(accepts=lambda height, width: height % 12 == width % 12 == 0))
    assert backbone.trial.multiple == (12, 12)
    assert backbone(torch.zeros(1, 3, 13, 5))[0].shape == (1, 5, 7, 3)


def test_a_network_of_one_size_takes_smaller_images_and_refuses_larger_ones():
    backbone = foreign(Network(accepts=lambda height, width: height == width == 12))
    assert backbone(torch.zeros(1, 3, 5, 12))[1].shape == (1, 7, 2, 3)
    with pytest.raises(ValueError, match="'lib:net' takes images up to 12×12, got 5×13; create it with img_size="):
        backbone(torch.zeros(1, 3, 5, 13))


def test_a_stage_a_level_and_what_stands_beside_the_parts_is_in_the_first():
    backbone = foreign(Network())
    first, second = backbone.stages
    network = backbone.network
    beside = [network.table, *network.classifier.parameters()]
    assert list(map(id, first.parameters())) == list(map(id, [*network.first.parameters(), *beside]))
    assert list(second) == list(network.second)


def test_watching_leaves_the_network_as_it_was():
    network = Network().train()
    foreign(network)
    assert network.training
    assert not network._forward_hooks
    assert not network.first._forward_hooks
    assert network.first.weight.grad is None


def test_parts_that_never_run_are_dropped():
    network = Network()
    drop_unused(network, (16, 24), in_channels=3)
    assert isinstance(network.classifier, nn.Identity)
    assert len(network.second) == 2


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (Network(accepts=lambda *_: False), r"'lib:net' can't be run as a backbone: not this size second line$"),
        (Network(padding=0), "a 16×24 image becomes a 7×11 map, so that it has no whole stride"),
    ],
)
def test_a_network_that_is_no_backbone_is_said(network, message):
    with pytest.raises(ValueError, match=message):
        foreign(network)


def test_one_stride_is_no_pyramid():
    network = Network()
    network.forward = lambda image: [network.first(image)]
    with pytest.raises(ValueError, match=r"'lib:net' has no pyramid: its maps have strides \[2\]"):
        foreign(network)
