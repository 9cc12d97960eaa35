"""FPN: every level fused, and the merge equal to the convolution of the stack that it never makes."""

import pytest
import torch
import torch.nn.functional as F

from segkit.necks.fpn import FPN
from segkit.necks.resample import upsample

STRIDES, CHANNELS = (1, 2, 4, 12), (4, 6, 8, 10)


def pyramid(height, width):
    return [torch.randn(2, c, -(-height // s), -(-width // s)) for c, s in zip(CHANNELS, STRIDES, strict=True)]


def test_the_merged_map_comes_first_then_every_level():
    fpn = FPN(CHANNELS, STRIDES, width=16)
    assert (fpn.channels, fpn.strides) == ((16,) * 5, (1, 1, 2, 4, 12))


@torch.no_grad()
def test_finer_maps_are_narrower_by_default():
    assert FPN((8, 8), (2, 4)).channels == (64, 64, 64)
    assert FPN((8, 8), (4, 8)).channels[0] == 128
    assert FPN((8, 8), (16, 32)).channels[0] == 256


def test_the_merge_is_a_convolution_of_all_levels_stacked_at_the_finest_stride():
    fpn = FPN(CHANNELS, STRIDES, width=16).eval()
    merged, *levels = fpn(pyramid(33, 47))
    stack = []
    for i, level in enumerate(levels):
        for finer in reversed(range(i)):
            level = upsample(level, STRIDES[finer + 1] // STRIDES[finer], like=levels[finer])
        stack.append(level)
    weight = torch.cat([merge.weight for merge in fpn.merge], dim=1)
    expected = F.relu(fpn.norm(F.conv2d(torch.cat(stack, dim=1), weight)))
    torch.testing.assert_close(merged, expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_coarse_values_reach_the_fine_levels():
    fpn = FPN((1, 1), (1, 2), width=1).eval()
    for lateral in fpn.lateral:
        torch.nn.init.ones_(lateral.weight)
        torch.nn.init.zeros_(lateral.bias)
    for smooth in fpn.smooth:
        torch.nn.init.dirac_(smooth[0].weight)
    fine, coarse = torch.full((1, 1, 1, 3), 0.5), torch.tensor([0.0, 4.0]).view(1, 1, 1, 2)
    # The coarse row 0 4 becomes 0 1 3 (4); each fine pixel adds its own 0.5.
    assert fpn([fine, coarse])[1].flatten().tolist() == pytest.approx([0.5, 1.5, 3.5], rel=1e-4)
