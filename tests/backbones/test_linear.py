"""The linear layer: both ways to compute it give the same numbers and gradients."""

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import forward_ad
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
def test_float32_has_the_same_bits_while_it_learns_and_after():
    layer, x = linear.Linear(48, 32).eval(), torch.randn(2, 50, 48)
    with torch.no_grad():
        now, of_gelu = layer(x), layer.of_gelu(x)
    assert torch.equal(now, layer(x))
    assert torch.equal(of_gelu, layer.of_gelu(x))
    assert layer._kept is None


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
        lambda: setattr(layer.bias, "data", torch.randn(6)),
        lambda: layer.load_state_dict(
            {name: torch.randn_like(t) for name, t in layer.state_dict().items()}, assign=True
        ),
        lambda: torch.nn.utils.vector_to_parameters(torch.randn(54), layer.parameters()),
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
    with torch.autocast("cpu", torch.bfloat16):
        assert layer.fused_gelu(x) is None
    with torch.no_grad():
        assert layer.fused_gelu(x) is None
        with torch.autocast("cpu", torch.bfloat16):
            assert layer.train().fused_gelu(x) is None
            assert layer.eval().fused_gelu(x) is not None
            assert layer.fused_gelu(x[:0]) is None
            assert layer.double().fused_gelu(x.double()) is None
        with torch.autocast("cpu", torch.float16):
            assert layer.float().fused_gelu(x) is None


@needs_onednn
def test_addresses_that_are_used_again_do_not_bring_old_weights_back():
    layer, x = linear.Linear(8, 6).eval(), torch.randn(5, 8)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        for _ in range(20):
            layer(x)
            for _ in range(2):
                layer.load_state_dict({"weight": torch.randn(6, 8), "bias": torch.randn(6)}, assign=True)
            assert torch.equal(layer(x), F.linear(x, layer.weight, layer.bias))


@needs_onednn
def test_a_fused_step_in_evaluation_mode_is_seen():
    layer, x = linear.Linear(8, 6).eval(), torch.randn(5, 8)
    optimizer = torch.optim.AdamW(layer.parameters(), lr=0.5, fused=True)
    for _ in range(3):
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(layer(x), F.linear(x, layer.weight, layer.bias))
        with torch.autocast("cpu", torch.bfloat16):
            layer(x).float().square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()


# Other derivatives


def test_second_derivatives_are_refused_not_wrong(way):
    layer, x = linear.Linear(6, 4), torch.randn(5, 6, requires_grad=True)
    (first,) = torch.autograd.grad((layer(x) ** 3).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()


@pytest.mark.parametrize("learns", [True, False])
def test_forward_derivatives_are_those_of_a_linear_layer(learns):
    layer, x, along = linear.Linear(6, 4), torch.randn(5, 6), torch.randn(5, 6)
    with torch.set_grad_enabled(learns):
        torch.testing.assert_close(torch.func.jvp(layer, (x,), (along,))[1], along @ layer.weight.T)
        with forward_ad.dual_level():
            dual = layer(forward_ad.make_dual(x, along))
            torch.testing.assert_close(forward_ad.unpack_dual(dual).tangent, along @ layer.weight.T)


def test_gradients_of_each_sample():
    layer, x = linear.Linear(6, 4), torch.randn(5, 6)
    loss = torch.func.grad(lambda weights, row: torch.func.functional_call(layer, weights, row).square().sum())
    each = torch.func.vmap(loss, (None, 0))(dict(layer.named_parameters()), x)
    expected = torch.einsum("no,ni->noi", 2 * layer(x), x)
    torch.testing.assert_close(each["weight"], expected)


def test_a_single_row_learns(way):
    layer, x = linear.Linear(6, 4), torch.randn(6)
    layer(x).sum().backward()
    torch.testing.assert_close(layer.weight.grad, x.expand(4, 6))
    assert layer.bias.grad.tolist() == [1.0] * 4
