"""AlexNet: torchvision's values on a grid that begins at the image's corner."""

import pytest
import torch
import torch.nn.functional as F
import torchvision

from segkit import backbones

PADDING = 15  # theirs answers at 4o + 3, 8o + 7 and 16o + 15; filled up by this, at multiples of the strides


@pytest.fixture(scope="module")
def peer():
    torch.manual_seed(0)
    return torchvision.models.alexnet(weights=None).eval()


@torch.no_grad()
def test_levels_agree_with_torchvision_away_from_borders(peer, assert_same_interior):
    alexnet = backbones.create("alexnet", weights=peer.state_dict()).eval()
    image = torch.randn(1, 3, 225, 243)
    x, theirs = F.pad(image, (PADDING, 0, PADDING, 0)), []
    for i, layer in enumerate(peer.features):
        x = layer(x)
        if i in (1, 4, 11):
            theirs.append(x)
    for ours, level, stride in zip(alexnet(image), theirs, alexnet.strides, strict=True):
        shift = (PADDING - (stride - 1)) // stride
        assert_same_interior(ours, level, shift=shift, margin=5)


def test_the_pyramid_ends_before_the_last_pooling():
    with torch.device("meta"):
        alexnet = backbones.create("alexnet")
    assert (alexnet.channels, alexnet.strides) == ((64, 192, 256), (4, 8, 16))
    assert [len(stage) for stage in alexnet.stages] == [2, 3, 7]
