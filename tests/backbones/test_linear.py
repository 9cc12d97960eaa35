"""The linear layer: both ways to compute it give the same numbers and gradients."""

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from segkit.backbones import linear


@pytest.fixture(params=[True, False])
def way(request, monkeypatch):
    monkeypatch.setattr(linear, "convolution_is_faster", lambda: request.param)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(5, 6), (2, 3, 4, 6), (6,), (0, 6)])
def test_both_ways_are_a_linear_layer(way, shape, bias):
    layer, x = linear.Linear(6, 4, bias=bias), torch.randn(shape)
    torch.testing.assert_close(layer(x), F.linear(x, layer.weight, layer.bias))


def test_both_ways_have_the_same_gradients(way):
    layer, x = linear.Linear(6, 4), torch.randn(2, 5, 6, requires_grad=True)
    ours = torch.autograd.grad((layer(x) ** 2).sum(), [x, *layer.parameters()])
    theirs = torch.autograd.grad((F.linear(x, layer.weight, layer.bias) ** 2).sum(), [x, *layer.parameters()])
    for gradient, reference in zip(ours, theirs, strict=True):
        torch.testing.assert_close(gradient, reference, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("bias", [True, False])
def test_of_gelu_is_the_layer_of_gelu_with_the_same_gradients(way, bias):
    layer, x = linear.Linear(6, 4, bias=bias), torch.randn(2, 5, 6, requires_grad=True)
    ours, theirs = layer.of_gelu(x), F.linear(F.gelu(x), layer.weight, layer.bias)
    torch.testing.assert_close(ours, theirs)
    wanted = [x, *layer.parameters()]
    for gradient, reference in zip(
        torch.autograd.grad((ours**2).sum(), wanted), torch.autograd.grad((theirs**2).sum(), wanted), strict=True
    ):
        torch.testing.assert_close(gradient, reference, atol=1e-5, rtol=1e-5)


def test_of_gelu_keeps_its_input_alone(way):
    layer, x, kept = linear.Linear(6, 4), torch.randn(50, 6, requires_grad=True), []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.shape), lambda t: t):
        layer.of_gelu(x)
    assert kept == [(50, 6), (4, 6)]


def test_frozen_weights_and_inputs_get_no_gradient(way):
    layer, x = linear.Linear(6, 4), torch.randn(5, 6)
    layer.weight.requires_grad_(False)
    layer.of_gelu(x).sum().backward()
    assert layer.weight.grad is None
    assert layer.bias.grad.tolist() == [5.0] * 4


def test_of_gelu_learns_under_autocast():
    layer, x = linear.Linear(6, 4), torch.randn(5, 6, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        layer.of_gelu(x).float().sum().backward()
    expected = torch.autograd.grad(F.linear(F.gelu(x), layer.weight, layer.bias).sum(), [x, layer.weight])
    torch.testing.assert_close(x.grad, expected[0], atol=0.02, rtol=0.02)
    torch.testing.assert_close(layer.weight.grad, expected[1], atol=0.05, rtol=0.02)


def test_inputs_that_are_not_contiguous_are_fine(way):
    layer, x = linear.Linear(6, 4), torch.randn(6, 5, 3).transpose(0, 2)
    torch.testing.assert_close(layer(x), F.linear(x, layer.weight, layer.bias))


def test_the_choice_is_made_once():
    assert linear.convolution_is_faster() is linear.convolution_is_faster()


def test_nothing_is_measured_in_deterministic_mode(monkeypatch):
    monkeypatch.setattr(linear, "convolution_is_faster", lambda: pytest.fail("measured"))
    monkeypatch.setattr(torch, "are_deterministic_algorithms_enabled", lambda: True)
    layer, x = linear.Linear(6, 4), torch.randn(5, 6)
    layer(x).sum().backward()
    torch.testing.assert_close(layer.weight.grad, x.sum(0).expand(4, 6))


@pytest.mark.parametrize("learns", [True, False])
def test_a_counter_of_operations_sees_a_linear_layer(learns):
    layer, x = linear.Linear(6, 4).eval(), torch.randn(5, 6)
    with torch.set_grad_enabled(learns), FlopCounterMode(display=False) as counter:
        layer(x)
        with torch.autocast("cpu", torch.bfloat16):
            layer(x)
    assert counter.get_total_flops() == 2 * (2 * 5 * 6 * 4)


def test_shapes_are_known_without_computing():
    with FakeTensorMode():
        assert linear.Linear(6, 4)(torch.empty(5, 6)).shape == (5, 4)


needs_onednn = pytest.mark.skipif(not linear.has_onednn(torch.device("cpu")), reason="needs oneDNN")


@needs_onednn
@pytest.mark.parametrize("bias", [True, False])
def test_kept_weights_give_the_same_bits_in_bfloat16(bias):
    layer, x = linear.Linear(48, 32, bias=bias).eval(), torch.randn(2, 50, 48)
    plain = torch.nn.Linear(48, 32, bias=bias)
    plain.load_state_dict(layer.state_dict())
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        for _ in range(2):  # kept by the first call
            assert torch.equal(layer(x), plain(x))
            assert torch.equal(layer.of_gelu(x), plain(F.gelu(x)))
        found = layer.fused_gelu(x).float()
    exact = F.gelu(F.linear(x.bfloat16().float(), layer.weight.bfloat16().float(), layer.bias))
    torch.testing.assert_close(found, exact, rtol=0.01, atol=0.01)


@needs_onednn
@pytest.mark.parametrize("bias", [True, False])
def test_kept_weights_give_the_same_bits_in_float32(bias):
    layer, x = linear.Linear(48, 32, bias=bias).eval(), torch.randn(2, 50, 48)
    learning, of_gelu = layer(x), layer.of_gelu(x)
    with torch.no_grad():
        for _ in range(2):
            assert torch.equal(layer(x), learning)
            assert torch.equal(layer.of_gelu(x), of_gelu)
        torch.testing.assert_close(layer.fused_gelu(x), F.gelu(learning))
    torch.testing.assert_close(learning, F.linear(x, layer.weight, layer.bias))


@needs_onednn
def test_kept_weights_are_those_of_now():
    layer, x = linear.Linear(8, 6).eval(), torch.randn(5, 8)
    other = linear.Linear(8, 6)

    def now(low):
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=low):
            return layer(x), F.linear(x, layer.weight, layer.bias)

    changes = [
        lambda: layer.load_state_dict(other.state_dict()),
        lambda: layer.weight.detach().mul_(2),
        lambda: layer.bias.detach().add_(1),
        lambda: setattr(layer, "weight", torch.nn.Parameter(torch.randn(6, 8))),
        lambda: layer.train() and layer.eval(),
    ]
    for change in [lambda: None, *changes]:
        with torch.no_grad():
            change()
        assert torch.equal(*now(low=True))
        torch.testing.assert_close(*now(low=False))
    again = copy.deepcopy(layer)
    assert again._kept is None
    assert torch.equal(pickle.loads(pickle.dumps(layer))(x), layer(x))


@needs_onednn
def test_nothing_is_kept_where_something_may_learn_or_another_precision_is_meant():
    layer, x = linear.Linear(8, 6).eval(), torch.randn(5, 8)
    for low in (True, False):
        with torch.autocast("cpu", torch.bfloat16, enabled=low):
            assert layer.eval().fused_gelu(x) is None
            with torch.no_grad():
                assert layer.train().fused_gelu(x) is None
                assert layer.eval().fused_gelu(x) is not None
                assert layer.fused_gelu(x[:0]) is None
    with torch.no_grad(), torch.autocast("cpu", torch.float16):
        assert layer.fused_gelu(x) is None
    with torch.no_grad():
        assert layer.double().fused_gelu(x.double()) is None
