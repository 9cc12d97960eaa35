"""Attention piece by piece: values and gradients of the fused kernel, and little kept but what came in."""

import pytest
import torch
import torch.nn.functional as F

from segkit.backbones import attention
from segkit.backbones.attention import attend


def by_torch(qkv, bias):
    query, key, value = qkv.permute(2, 0, 3, 1, 4)
    mask = bias.repeat(len(qkv) // len(bias), 1, 1, 1) if len(bias) > 1 else bias
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask).transpose(1, 2)


@pytest.fixture(params=[1, 40, 1 << 19], ids=lambda piece: f"pieces of {piece}")
def piece(request, monkeypatch):
    monkeypatch.setattr(attention, "PIECE", request.param)


@pytest.mark.parametrize("channels", [5, 3])
@pytest.mark.parametrize("biases", [1, 3])
def test_values_and_gradients_are_those_of_the_fused_kernel(biases, channels, piece):
    torch.manual_seed(0)
    qkv = torch.randn(6, 4, 3, 2, channels, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(biases, 2, 4, 4, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(6, 4, 2, channels, dtype=torch.float64)
    own, other = attend(qkv, bias), by_torch(qkv, bias)
    torch.testing.assert_close(own, other)
    gradients = [torch.autograd.grad((result * weight).sum(), (qkv, bias)) for result in (own, other)]
    for found, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(found, expected)


@torch.no_grad()
@pytest.mark.parametrize("biases", [1, 3])
def test_without_gradients_and_in_low_precision_it_is_the_same(biases, piece):
    qkv, bias = torch.randn(6, 4, 3, 2, 5), torch.randn(biases, 2, 4, 4)
    torch.testing.assert_close(attend(qkv, bias), by_torch(qkv, bias))
    with torch.autocast("cpu", torch.bfloat16):
        low = attend(qkv.bfloat16(), bias.bfloat16())
    assert low.dtype == torch.bfloat16
    torch.testing.assert_close(low.float(), by_torch(qkv, bias), atol=0.05, rtol=0.05)


@pytest.mark.parametrize("channels", [5, 3])
@pytest.mark.parametrize("size", [1.0, 30.0, 1000.0])
def test_in_low_precision_no_logit_is_too_large_or_too_small(size, channels):
    torch.manual_seed(0)
    qkv, bias = torch.randn(6, 4, 3, 2, channels), size * torch.randn(1, 2, 4, 4)
    bias[:, 0] -= size  # rows that are low as a whole
    low, low_bias = (tensor.bfloat16().requires_grad_() for tensor in (qkv, bias))
    exact, exact_bias = (tensor.detach().double().requires_grad_() for tensor in (low, low_bias))
    found, expected = attend(low, low_bias), by_torch(exact, exact_bias)
    torch.testing.assert_close(found.double(), expected, atol=0.05, rtol=0.05)
    gradients = [
        torch.autograd.grad((result * torch.arange(channels)).sum(), inputs)
        for result, inputs in ((found, (low, low_bias)), (expected, (exact, exact_bias)))
    ]
    for own, other in zip(*gradients, strict=True):
        torch.testing.assert_close(own.double(), other, atol=0.1, rtol=0.1)


def test_masked_places_take_no_part(piece):
    qkv = torch.randn(2, 4, 3, 1, 5, requires_grad=True)
    bias = torch.zeros(1, 1, 4, 4)
    bias[..., :2, 2:] = -torch.inf
    attend(qkv, bias.requires_grad_())[:, :2].sum().backward()
    assert torch.isfinite(qkv.grad).all()
    assert (qkv.grad[:, 2:] == 0).all()


def test_only_what_came_in_is_kept_for_the_backward_pass_and_weights_where_they_are_few():
    assert kept_for_the_backward_pass(channels=3) == [(6, 4, 3, 2, 3), (3, 2, 4, 4)]
    assert kept_for_the_backward_pass(channels=4) == [(6, 4, 3, 2, 4), (3, 2, 4, 4), (6, 2, 4, 4)]


def kept_for_the_backward_pass(channels):
    qkv, bias = torch.randn(6, 4, 3, 2, channels, requires_grad=True), torch.randn(3, 2, 4, 4, requires_grad=True)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda tensor: kept.append(tuple(tensor.shape)), lambda tensor: tensor
    ):
        attend(qkv, bias)
    return kept
