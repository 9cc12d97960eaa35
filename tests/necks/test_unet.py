"""U-Net: back to the finest level, skip by skip, on aligned grids."""

import copy

import pytest
import torch

from segkit.necks.resample import upsample
from segkit.necks.unet import UNet

STRIDES, CHANNELS = (2, 4, 8, 8, 16), (4, 6, 8, 8, 10)


def pyramid(height, width):
    return [torch.randn(2, c, -(-height // s), -(-width // s)) for c, s in zip(CHANNELS, STRIDES, strict=True)]


@pytest.mark.parametrize("size", [(64, 64), (33, 47), (1, 1)])
def test_maps_are_finest_first_at_any_size(size):
    unet = UNet(CHANNELS, STRIDES, widths=(4, 8, 8, 16)).eval()
    assert (unet.channels, unet.strides) == ((4, 8, 8, 16), (2, 4, 8, 8))
    for level, channels, stride in zip(unet(pyramid(*size)), unet.channels, unet.strides, strict=True):
        assert level.shape == (2, channels, -(-size[0] // stride), -(-size[1] // stride))


def test_widths_follow_the_strides():
    assert UNet((1,) * 6, (1, 2, 4, 8, 16, 32)).channels == (16, 32, 64, 128, 256)
    assert UNet((1,) * 5, (4, 8, 16, 32, 64)).channels == (64, 128, 256, 256)


@torch.no_grad()
def test_a_step_stacks_the_coarse_map_cropped_at_the_bottom_right_with_the_skip():
    unet = UNet((3, 5), (2, 4), widths=(7,)).eval()
    seen = []
    unet.steps[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    skip, coarse = torch.randn(1, 3, 5, 7), torch.randn(1, 5, 3, 4)
    unet([skip, coarse])
    whole = upsample(coarse, 2, like=torch.empty(1, 1, 6, 8))
    assert torch.equal(seen[0], torch.cat([whole[..., :5, :7], skip], dim=1))


@torch.no_grad()
def test_an_image_s_top_left_is_not_moved_by_what_lies_beyond_it():
    """A pixel that enters at the bottom right changes nothing far from it, whether the size is even or odd."""
    unet = UNet((1, 1), (1, 2), widths=(4,)).eval()
    even = [torch.randn(1, 1, 16, 16), torch.randn(1, 1, 8, 8)]
    odd = [even[0][..., :15, :15], even[1]]
    torch.testing.assert_close(unet(even)[0][..., :12, :12], unet(odd)[0][..., :12, :12])


def test_every_parameter_learns():
    unet = UNet(CHANNELS, STRIDES, widths=(4, 8, 8, 16))
    sum((level**2).sum() for level in unet(pyramid(33, 47))).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in unet.parameters())


@torch.no_grad()
def test_copies_and_state_dicts_are_equal():
    unet, twin, levels = UNet(CHANNELS, STRIDES).eval(), UNet(CHANNELS, STRIDES).eval(), pyramid(33, 47)
    twin.load_state_dict(unet.state_dict())
    for other in (twin, copy.deepcopy(unet)):
        assert all(torch.equal(a, b) for a, b in zip(unet(levels), other(levels), strict=True))


@torch.no_grad()
def test_compiled_and_autocast_agree():
    unet, levels = UNet(CHANNELS, STRIDES, widths=(4, 8, 8, 16)).eval(), pyramid(33, 47)
    expected = unet(levels)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = unet(levels)
    compiled = torch.compile(unet, fullgraph=True, backend="aot_eager")(levels)
    for reference, a, b in zip(expected, rounded, compiled, strict=True):
        torch.testing.assert_close(a.float(), reference, atol=0.1, rtol=0.1)
        torch.testing.assert_close(b, reference, atol=1e-5, rtol=1e-5)


def test_what_cannot_be_built_is_said():
    with pytest.raises(ValueError, match="got one level of stride 4; a U-Net joins two or more"):
        UNet((8,), (4,))
    with pytest.raises(ValueError, match=r"widths is \[8\]; expected 2, one per level but the coarsest"):
        UNet((8, 8, 8), (4, 8, 16), widths=(8,))
