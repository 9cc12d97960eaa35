"""Transposed convolutions: aligned doublings that start as bilinear enlargement."""

import pytest
import torch
import torch.nn.functional as F

from segkit.heads.transposed import TransposedHead


@torch.no_grad()
def test_a_doubling_starts_as_a_1x1_convolution_with_bilinear_enlargement():
    head, level = TransposedHead(6, 2, 3, width=4), torch.randn(2, 6, 9, 7)
    doubling = head.steps[0][0]
    mix = doubling.weight[:, :, 1:3, 1:3].sum((2, 3)) / 0.75**2 / 4  # [in, out]
    expected = F.interpolate(torch.einsum("bihw,io->bohw", level, mix), scale_factor=2, mode="bilinear")
    found = doubling(level)
    assert found.shape == expected.shape
    torch.testing.assert_close(found[..., 1:-1, 1:-1], expected[..., 1:-1, 1:-1])  # the border fades into zeros


@torch.no_grad()
def test_no_checkerboard_in_a_flat_map():
    head = TransposedHead(6, 4, 3, width=4).eval()
    logits = head([torch.ones(1, 6, 9, 9)], (36, 36))[..., 8:-8, 8:-8]
    torch.testing.assert_close(logits, logits[..., :1, :1].expand_as(logits))


@pytest.mark.parametrize(
    ("channels", "stride", "widths"), [(128, 4, [64, 32]), (32, 8, [16, 16, 16]), (64, 1, []), (24, 6, [16])]
)
def test_channels_halve_with_each_doubling_down_to_the_width(channels, stride, widths):
    head = TransposedHead(channels, stride, 2, width=16)
    assert [step[0].out_channels for step in head.steps] == widths
    assert head.classify.in_channels == (widths or [channels])[-1]


@torch.no_grad()
def test_what_is_left_of_the_stride_enlarges_the_logits():
    head, level = TransposedHead(4, 6, 2).eval(), torch.randn(1, 4, 4, 4)
    small = head.classify(head.steps[0](level))
    expected = F.interpolate(small, scale_factor=3, mode="bilinear")
    torch.testing.assert_close(head([level], (22, 23)), expected[..., :22, :23])


@torch.no_grad()
def test_a_doubling_starts_with_weights_that_keep_the_size_of_features():
    mix = TransposedHead(256, 2, 3, width=64).steps[0][0].weight[:, :, 1, 1] / 0.75**2
    assert mix.std().item() == pytest.approx((2 / 256) ** 0.5, rel=0.03)
