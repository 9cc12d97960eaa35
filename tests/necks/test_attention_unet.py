"""Attention U-Net: the gate's formula pixel by pixel, and a U-Net where all gates are open."""

import math

import pytest
import torch

from segkit.necks.attention_unet import AttentionGate, AttentionUNet
from segkit.necks.resample import upsample
from segkit.necks.unet import UNet

CHANNELS, STRIDES = (4, 6, 8), (2, 4, 12)


@torch.no_grad()
def test_a_gate_weighs_each_pixel_by_the_paper_s_formula():
    torch.manual_seed(0)
    gate, skip, coarse = AttentionGate(4, 3), torch.randn(1, 4, 5, 4), torch.randn(1, 3, 3, 2)
    asked = upsample(coarse, 2, like=skip)
    of_skip, of_coarse = gate.of_skip.weight.flatten(1), gate.of_coarse.weight.flatten(1)
    expected = torch.empty_like(skip)
    for row in range(5):
        for column in range(4):
            x, g = skip[0, :, row, column], asked[0, :, row, column]
            inner = (of_skip @ x + of_coarse @ g + gate.of_coarse.bias).clamp(min=0)
            q = float(gate.weight.weight.flatten() @ inner + gate.weight.bias)
            expected[0, :, row, column] = x / (1 + math.exp(-q))
    torch.testing.assert_close(gate(skip, coarse, 2), expected)


@torch.no_grad()
def test_gates_start_nearly_open():
    torch.manual_seed(0)
    gate, skip = AttentionGate(32, 64), torch.randn(2, 32, 16, 16)
    share = gate(skip, torch.randn(2, 64, 8, 8), 2) / skip
    assert share.mean() == pytest.approx(0.95, abs=0.02)


def with_gates(bias):
    """An Attention U-Net whose gates all have the same weight, and a U-Net with the same convolutions."""
    torch.manual_seed(0)
    gated, plain = AttentionUNet(CHANNELS, STRIDES, widths=(4, 8)).eval(), UNet(CHANNELS, STRIDES, widths=(4, 8)).eval()
    plain.steps.load_state_dict(gated.steps.state_dict())
    for gate in gated.gates:
        torch.nn.init.zeros_(gate.weight.weight)
        torch.nn.init.constant_(gate.weight.bias, bias)
    return gated, plain


@pytest.mark.parametrize(("bias", "share"), [(0.0, 0.5), (100.0, 1.0), (-100.0, 0.0)])
@torch.no_grad()
def test_a_gate_s_weight_is_the_share_of_the_skip_that_a_u_net_gets(bias, share):
    gated, plain = with_gates(bias)
    *skips, coarsest = (torch.randn(2, c, -(-33 // s), -(-47 // s)) for c, s in zip(CHANNELS, STRIDES, strict=True))
    expected = plain([*(share * skip for skip in skips), coarsest])
    for own, other in zip(gated([*skips, coarsest]), expected, strict=True):
        torch.testing.assert_close(own, other)


def test_the_gate_of_a_step_listens_to_the_decoder_s_coarser_map():
    gated = AttentionUNet(CHANNELS, STRIDES, widths=(5, 7))
    assert [gate.of_coarse.in_channels for gate in gated.gates] == [7, 8]
    assert (gated.channels, gated.strides) == ((5, 7), (2, 4))
