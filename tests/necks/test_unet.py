"""U-Net: back to the finest level, skip by skip, on aligned grids."""

import pytest
import torch

from segkit.necks.resample import upsample
from segkit.necks.unet import UNet


def test_a_map_comes_for_every_level_but_the_coarsest():
    unet = UNet((4, 6, 8, 8, 10), (2, 4, 8, 8, 16), widths=(4, 8, 8, 16))
    assert (unet.channels, unet.strides) == ((4, 8, 8, 16), (2, 4, 8, 8))


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


def test_a_wrong_number_of_widths_is_said():
    with pytest.raises(ValueError, match=r"widths is \[8\]; expected 2, one per level but the coarsest"):
        UNet((8, 8, 8), (4, 8, 16), widths=(8,))
