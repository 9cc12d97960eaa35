"""ResDeconv: down by residual blocks, up by transposed convolutions that begin as bilinear enlargement."""

import pytest
import torch
import torch.nn.functional as F

from segkit import backbones
from segkit.backbones.resdeconv import Enlarge, ResDeconv


def test_full_resolution_comes_first():
    with torch.device("meta"):
        network = backbones.create("resdeconv")
    assert network.strides == (1, 2, 4, 8, 16)
    assert network.channels == (16, 32, 64, 128, 256)
    assert sum(p.numel() for p in network.parameters()) == 4_128_928


@torch.no_grad()
def test_a_transposed_convolution_begins_as_a_mixture_enlarged_bilinearly():
    torch.manual_seed(0)
    up = Enlarge(4).up
    mix = up.weight[:, :, 1, 1] / 0.75**2  # [8, 4]
    x = torch.randn(2, 8, 6, 7)
    expected = F.interpolate(torch.einsum("bihw,io->bohw", x, mix), scale_factor=2, mode="bilinear")
    torch.testing.assert_close(up(x)[..., 1:-1, 1:-1], expected[..., 1:-1, 1:-1])
    assert up.bias.abs().sum() == 0


@torch.no_grad()
def test_every_finer_level_knows_of_the_coarsest():
    network = ResDeconv(width=2, blocks=1).eval()
    image = torch.randn(1, 3, 33, 47)
    before = network(image)
    network.down[-1][0].conv1.weight.mul_(2)
    assert not any(torch.equal(a, b) for a, b in zip(before, network(image), strict=True))


@torch.no_grad()
def test_steps_up_beyond_the_finest_level_are_not_built():
    whole = ResDeconv(width=2, blocks=1).eval()
    part = ResDeconv(width=2, blocks=1, levels=(2, 4)).eval()
    part.load_state_dict(whole.state_dict(), strict=False)
    image = torch.randn(1, 3, 33, 47)
    assert (part.channels, part.strides, len(part.up)) == ((8, 32), (4, 16), 2)
    expected = whole(image)
    assert all(torch.equal(a, b) for a, b in zip(part(image), (expected[2], expected[4]), strict=True))


def test_blocks_are_counted_on_the_way_down():
    assert [len(stage) for stage in ResDeconv(width=2, blocks=3).down] == [6, 3, 3, 3, 3]  # the first: conv, norm, ReLU


@pytest.mark.parametrize("options", [{"width": 0}, {"blocks": 0}])
def test_sizes_must_be_positive(options):
    with pytest.raises(ValueError, match="expected 1 or more"):
        ResDeconv(**options)
