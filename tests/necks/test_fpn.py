"""FPN: every level fused, and the merge equal to the convolution of the stack that it never makes."""

import copy

import pytest
import torch
import torch.nn.functional as F

from segkit.necks.fpn import FPN
from segkit.necks.resample import upsample

STRIDES, CHANNELS = (1, 2, 4, 12), (4, 6, 8, 10)


def pyramid(height, width):
    return [torch.randn(2, c, -(-height // s), -(-width // s)) for c, s in zip(CHANNELS, STRIDES, strict=True)]


@pytest.mark.parametrize("size", [(64, 64), (33, 47), (1, 1)])
def test_every_level_keeps_its_stride_at_any_size(size):
    fpn = FPN(CHANNELS, STRIDES, width=16).eval()
    assert fpn.strides == (1, 1, 2, 4, 12)
    for level, channels, stride in zip(fpn(pyramid(*size)), fpn.channels, fpn.strides, strict=True):
        assert level.shape == (2, channels, -(-size[0] // stride), -(-size[1] // stride))


@torch.no_grad()
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


def test_one_level_is_fine():
    assert len(FPN((4,), (8,), width=6)([torch.randn(2, 4, 5, 5)])) == 2


def test_every_parameter_learns():
    fpn = FPN(CHANNELS, STRIDES, width=16)
    sum((level**2).sum() for level in fpn(pyramid(33, 47))).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in fpn.parameters())


@torch.no_grad()
def test_copies_and_state_dicts_are_equal():
    fpn, twin, levels = FPN(CHANNELS, STRIDES).eval(), FPN(CHANNELS, STRIDES).eval(), pyramid(33, 47)
    twin.load_state_dict(fpn.state_dict())
    for other in (twin, copy.deepcopy(fpn)):
        assert all(torch.equal(a, b) for a, b in zip(fpn(levels), other(levels), strict=True))


@torch.no_grad()
def test_compiled_autocast_and_channels_last_agree():
    fpn, levels = FPN(CHANNELS, STRIDES, width=16).eval(), pyramid(33, 47)
    expected = fpn(levels)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = fpn(levels)
    compiled = torch.compile(fpn, fullgraph=True, backend="aot_eager")(levels)
    last = fpn.to(memory_format=torch.channels_last)([x.to(memory_format=torch.channels_last) for x in levels])
    for reference, a, b, c in zip(expected, rounded, compiled, last, strict=True):
        torch.testing.assert_close(a.float(), reference, atol=0.1, rtol=0.1)
        torch.testing.assert_close(b, reference, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(c, reference, atol=1e-5, rtol=1e-5)
