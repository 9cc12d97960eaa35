"""Inception v3: torchvision's values on a grid that begins at the image's corner."""

import pytest
import torch
import torch.nn.functional as F
import torchvision

from segkit import backbones

PADDING = 37
# Theirs answers at 2o + 3, 4o + 9, 8o + 13, 16o + 21 and 32o + 37: after this many of its pixels comes our first.
SHIFTS = (17, 7, 3, 1, 0)
LAST = ("Conv2d_2b_3x3", "Conv2d_4a_3x3", "Mixed_5d", "Mixed_6e", "Mixed_7c")


@pytest.fixture(scope="module")
def peer():
    torch.manual_seed(0)
    return torchvision.models.inception_v3(weights=None, init_weights=True).eval()


def peer_levels(peer, image, count):
    maps = {}
    for name in LAST:
        getattr(peer, name).register_forward_hook(
            lambda _part, _given, out, name=name: maps.update({name: out.clone()})
        )
    peer(F.pad(image, (PADDING, 0, PADDING, 0)))
    return [maps[name] for name in LAST[:count]]


@torch.no_grad()
def test_fine_levels_agree_with_torchvision_away_from_borders(peer, assert_same_interior):
    inception = backbones.create("inception_v3", weights=peer.state_dict(), levels=(0, 1, 2)).eval()
    image = torch.randn(1, 3, 193, 211)
    for ours, theirs, shift in zip(inception(image), peer_levels(peer, image, 3), SHIFTS, strict=False):
        assert_same_interior(ours, theirs, shift=shift, margin=9)


@torch.no_grad()
def test_coarse_stages_agree_with_torchvision_away_from_borders(peer, assert_same_interior):
    """The first blocks of each stage: the whole network sees 1300 pixels, a picture's interior begins beyond that."""
    inception = backbones.create("inception_v3", weights=peer.state_dict()).eval()
    for stage, blocks, channels, margin in ((3, ("6a", "6b"), 288, 8), (4, ("7a", "7b"), 768, 6)):
        x = torch.rand(1, channels, 4 * margin + 5, 4 * margin + 9)
        ours, theirs = inception.layers[stage][: 1 + len(blocks)](x), F.pad(x, (1, 0, 1, 0))
        for block in blocks:
            theirs = getattr(peer, f"Mixed_{block}")(theirs)
        assert_same_interior(ours, theirs, shift=0, margin=margin)


@pytest.mark.slow
@torch.no_grad()
def test_the_whole_network_agrees_with_torchvision_away_from_borders(peer, assert_same_interior):
    inception = backbones.create("inception_v3", weights=peer.state_dict()).eval()
    image = torch.randn(1, 3, 1473, 1505)
    margins = (3, 4, 9, 32, 22)
    for ours, theirs, shift, margin in zip(inception(image), peer_levels(peer, image, 5), SHIFTS, margins, strict=True):
        assert_same_interior(ours, theirs, shift=shift, margin=margin)


def test_an_untrained_network_s_answers_stay_small():
    backbone = backbones.create("inception_v3").eval()  # by the running statistics, which nothing has changed yet
    with torch.no_grad():
        assert all(0.1 < level.std() < 10 for level in backbone(torch.randn(1, 3, 96, 96)))
