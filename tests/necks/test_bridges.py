"""Bridges: the identity at first, then what their formulas say; unmeasured pixels count for nothing."""

import copy
import inspect
import re
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from segkit import backbones, necks
from segkit.necks import bridges
from segkit.necks.bridges.attention import AttentionBridge
from segkit.necks.bridges.bridge import Bridge
from segkit.necks.bridges.concat import ConcatBridge
from segkit.necks.bridges.gated import GatedBridge
from segkit.necks.bridges.se import LEAST, SEBridge

NAMES = bridges.names()
SMALL = {"attention": {"width": 8, "heads": 2, "tokens": 3}, "se": {"reduction": 2}}
SIZES = [(8, 12), (33, 47), (2, 1), (1, 1)]
COLOUR, DEPTH = 12, 5

each = pytest.mark.parametrize("name", NAMES)


def build(name, colour=COLOUR, depth=DEPTH):
    torch.manual_seed(0)
    return bridges.create(name, colour=colour, depth=depth, **SMALL.get(name, {}))


def taught(name, colour=COLOUR, depth=DEPTH):
    """A bridge whose every tensor is random, as after some training."""
    bridge = build(name, colour, depth)
    for key, value in bridge.state_dict().items():
        if value.is_floating_point():
            value.uniform_(0.5, 1.5) if key.endswith("running_var") else value.normal_(0, 0.5)
    return bridge.eval()


def given(size=(33, 47), batch=2, colour=COLOUR, depth=DEPTH, dtype=torch.float32):
    """Features, and validity with cells measured wholly, in part, and not at all."""
    generator = torch.Generator().manual_seed(1)
    features = [torch.randn(batch, c, *size, generator=generator).to(dtype) for c in (colour, depth)]
    valid = (2 * torch.rand(batch, 1, *size, generator=generator) - 0.5).clamp(0, 1).to(dtype)
    valid[0, 0, 0, 0] = 1
    return *features, valid


# A new bridge


@each
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("precision", ["fp32", "bf16", "autocast", "autocast of fp32 colour", "fp64"])
@torch.no_grad()
def test_a_new_bridge_is_the_identity_to_the_bit(name, size, training, precision):
    dtype = {"bf16": torch.bfloat16, "autocast": torch.bfloat16, "fp64": torch.float64}.get(precision, torch.float32)
    colour, depth, valid = given(size, dtype=dtype)
    bridge = build(name).train(training)
    if "autocast" not in precision:
        bridge = bridge.to(dtype)
    before = colour.clone()
    with torch.autocast("cpu", torch.bfloat16, enabled="autocast" in precision):
        found = bridge(colour, depth, valid)
    assert found.dtype == dtype
    assert torch.equal(found, before)
    assert torch.equal(colour, before)  # nothing was written into it


@each
def test_its_last_convolution_learns_at_once_and_everything_after_that(name):
    bridge, (colour, depth, valid) = build(name), given()
    optimizer = torch.optim.SGD(bridge.parameters(), 0.1)
    learns = bridge.last.weight
    for _ in range(2):
        optimizer.zero_grad()
        (bridge(colour, depth, valid) * torch.randn(COLOUR, 33, 47)).sum().backward()
        assert learns.grad.abs().sum() > 0
        optimizer.step()
    assert [key for key, p in bridge.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


@each
@pytest.mark.parametrize(("colour", "depth"), [(12, 5), (256, 64), (64, 128), (2048, 512)])
def test_parameters_are_as_many_as_the_docstring_says(name, colour, depth):
    with torch.device("meta"):
        bridge = bridges.create(name, colour=colour, depth=depth)
    formula = re.search(r"Parameters: ``([^`]+)``", inspect.getdoc(type(bridge)))[1]
    values = {"colour": colour, "depth": depth}
    values["width"] = 256 if name == "attention" else min(colour, depth)
    values |= {"c": max(colour // 16, 1), "d": max(depth // 16, 1)}
    assert sum(p.numel() for p in bridge.parameters()) == eval(formula, {}, values)


@pytest.mark.parametrize("depth", ["resnet18", "resnet34", "resnet50", "resnet152"])
def test_attention_on_a_resnet50_s_two_coarsest_levels_has_five_million_parameters_at_most(depth):
    assert bridges.coarsest("attention") == 2
    with torch.device("meta"):
        pair = [backbones.create(name).channels[-2:] for name in ("resnet50", depth)]
        built = [bridges.create("attention", colour=c, depth=d) for c, d in zip(*pair, strict=True)]
    assert sum(p.numel() for bridge in built for p in bridge.parameters()) < 5_000_000


# What was not measured


@each
@pytest.mark.parametrize("size", SIZES)
@torch.no_grad()
def test_what_the_features_of_unmeasured_pixels_are_makes_no_difference(name, size):
    bridge, (colour, depth, valid) = taught(name), given(size)
    other = torch.where(valid > 0, depth, 100 * torch.randn_like(depth))
    assert torch.equal(bridge(colour, depth, valid), bridge(colour, other, valid))


@each
@torch.no_grad()
def test_what_the_features_of_measured_pixels_are_does(name):
    bridge, (colour, depth, valid) = taught(name), given()
    assert not torch.allclose(bridge(colour, depth, valid), bridge(colour, depth + 1, valid))
    assert not torch.allclose(bridge(colour, depth, valid), bridge(colour, depth, valid / 2))


@each
@torch.no_grad()
def test_nothing_measured_anywhere_is_finite(name):
    bridge, (colour, depth, valid) = taught(name), given()
    assert bridge(colour, depth, torch.zeros_like(valid)).isfinite().all()


@torch.no_grad()
def test_a_gate_leaves_colour_where_nothing_was_measured():
    bridge, (colour, depth, valid) = taught("gated"), given()
    unmeasured = (valid == 0).expand_as(colour)
    found = bridge(colour, depth, valid)
    assert unmeasured.any()
    assert torch.equal(found[unmeasured], colour[unmeasured])
    assert not torch.isclose(found, colour)[~unmeasured].all()


# The formulas


@torch.no_grad()
def test_concat_is_two_convolutions_of_the_stack():
    bridge, (colour, depth, valid) = taught("concat", 3, 2), given(colour=3, depth=2)
    convolution, norm = bridge.mix[0], bridge.mix[1]
    x = F.conv2d(torch.cat([colour, depth * valid, valid], 1), convolution.weight, padding=1)
    x = F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias).relu()
    torch.testing.assert_close(bridge(colour, depth, valid), colour + F.conv2d(x, bridge.last.weight, bridge.last.bias))


def test_concat_s_width_is_the_smaller_number_of_channels_or_what_was_asked_for():
    widths = [ConcatBridge(8, 6).last.in_channels, ConcatBridge(6, 8).last.in_channels]
    assert widths == [6, 6]
    assert bridges.create("concat", colour=8, depth=6, width=3).last.in_channels == 3


@torch.no_grad()
def test_se_weighs_each_modality_by_its_own_means():
    bridge, (colour, depth, valid) = taught("se"), given(batch=1)

    def weights(means, layers):
        inner = (layers[0].weight.flatten(1) @ means + layers[0].bias).relu()
        return (layers[2].weight.flatten(1) @ inner + layers[2].bias).sigmoid()

    of_colour = 2 * weights(colour[0].mean((1, 2)), bridge.colour_weights)
    measured = (depth * valid)[0].sum((1, 2)) / valid.sum()
    of_depth = weights(measured, bridge.depth_weights)
    expected = of_colour.view(-1, 1, 1) * colour[0]
    for row, column in ((0, 0), (5, 7), (32, 46)):
        own = valid[0, 0, row, column] * of_depth * depth[0, :, row, column]
        expected[:, row, column] += bridge.last.weight.flatten(1) @ own
        torch.testing.assert_close(
            bridge(colour, depth, valid)[0, :, row, column], expected[:, row, column], atol=1e-5, rtol=1e-5
        )


@torch.no_grad()
def test_se_s_means_of_a_few_pixels_fade():
    bridge, (colour, depth, _) = taught("se"), given((100, 100), batch=1)
    seen = []
    bridge.depth_weights.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].flatten()))
    valid = torch.zeros(1, 1, 100, 100)
    valid[..., 0, 0] = 1
    bridge(colour, depth, valid)
    torch.testing.assert_close(seen[0], depth[0, :, 0, 0] * 1e-4 / LEAST)


@torch.no_grad()
def test_a_gate_is_a_softmax_of_two_whose_prior_is_the_measured_share():
    bridge, (colour, depth, valid) = taught("gated"), given(batch=1)
    found = bridge(colour, depth, valid)[0]
    for row, column in ((0, 0), (3, 9), (32, 46), *(valid[0, 0] == 0).nonzero()[:2].tolist()):
        x, y, share = colour[0, :, row, column], depth[0, :, row, column], valid[0, 0, row, column]
        exponentials = (bridge.gate.weight.flatten(1) @ torch.cat([x, y]) + bridge.gate.bias).exp()
        g = share * exponentials[1] / (exponentials[0] + share * exponentials[1])
        said = bridge.last.weight.flatten(1) @ y + bridge.last.bias + bridge.replaced.weight.flatten() * x
        torch.testing.assert_close(found[:, row, column], x + g * said, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_a_gate_can_put_depth_in_the_place_of_colour():
    bridge, (colour, depth, _) = taught("gated"), given()
    nn.init.constant_(bridge.replaced.weight, -1)
    nn.init.zeros_(bridge.gate.weight)
    bridge.gate.bias.copy_(torch.tensor([-100.0, 100.0]))
    torch.testing.assert_close(bridge(colour, depth, torch.ones(2, 1, 33, 47)), bridge.last(depth))


@torch.no_grad()
def test_attention_is_a_softmax_over_tokens_and_one_of_zeros():
    bridge, (colour, depth, valid) = taught("attention"), given((6, 9), batch=1)
    valid[..., :2, :3] = 0  # a token of which nothing was measured
    seen = []
    bridge.mix.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0][0]))
    bridge(colour, depth, valid)
    query, key, value = (getattr(bridge, name).weight.flatten(1) for name in ("query", "key", "value"))
    tokens, shares = [], []
    for row in range(3):
        for column in range(3):
            cell = slice(2 * row, 2 * row + 2), slice(3 * column, 3 * column + 3)
            share, part = valid[0, 0, *cell], depth[0, :, *cell]
            shares.append(share.mean())
            tokens.append((part * share).sum((1, 2)) / share.sum().clamp(min=1e-9))
    tokens, shares = torch.stack([*tokens, torch.zeros(DEPTH)]), torch.stack([*shares, torch.ones(())])
    assert shares[0] == 0
    for row, column in ((0, 0), (2, 5), (5, 8)):
        expected = value @ (depth * valid)[0, :, row, column]
        for head in (slice(0, 4), slice(4, 8)):
            logits = (tokens @ key[head].T) @ (query[head] @ colour[0, :, row, column]) / 4**0.5
            weights = shares * logits.exp()
            expected[head] += (weights / weights.sum()) @ (tokens @ value[head].T)
        torch.testing.assert_close(seen[0][:, row, column], expected, atol=1e-5, rtol=1e-5)


def test_attention_s_cost_grows_with_the_pixels():
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"):
        bridge = AttentionBridge(64, 32)
        costs = []
        for side in (32, 64, 128):
            with FlopCounterMode(display=False) as counter:
                bridge(torch.empty(1, 64, side, side), torch.empty(1, 32, side, side), torch.empty(1, 1, side, side))
            costs.append(counter.get_total_flops())
    assert costs[1] / costs[0] == pytest.approx(4, rel=0.1)
    assert costs[2] / costs[1] == pytest.approx(4, rel=0.1)


# Ways to run them


@each
@torch.no_grad()
def test_copies_state_dicts_autocast_and_channels_last_agree(name):
    bridge, twin, inputs = taught(name), build(name).eval(), given()
    twin.load_state_dict(bridge.state_dict())
    expected = bridge(*inputs)
    for other in (twin, copy.deepcopy(bridge)):
        assert torch.equal(other(*inputs), expected)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = bridge(*inputs)
    assert (rounded.float() - expected).norm() < 0.02 * expected.norm()
    last = bridge.to(memory_format=torch.channels_last)(*(x.to(memory_format=torch.channels_last) for x in inputs))
    torch.testing.assert_close(last, expected, atol=1e-4, rtol=1e-4)
    assert last.is_contiguous(memory_format=torch.channels_last)


@each
@torch.no_grad()
def test_compiled_and_exported_agree_at_any_size(name):
    bridge, inputs = taught(name), given()
    compiled = torch.compile(bridge, fullgraph=True, backend="aot_eager")(*inputs)
    torch.testing.assert_close(compiled, bridge(*inputs), atol=1e-4, rtol=1e-4)
    sizes = {0: torch.export.Dim.AUTO, 2: torch.export.Dim.AUTO, 3: torch.export.Dim.AUTO}
    exported = torch.export.export(bridge, inputs, dynamic_shapes=(sizes, sizes, sizes)).module()
    for size, batch in (((33, 47), 2), ((20, 9), 3)):
        inputs = given(size, batch)
        torch.testing.assert_close(exported(*inputs), bridge(*inputs), atol=1e-4, rtol=1e-4)


# By name


def test_every_name_makes_a_bridge():
    assert [type(build(name)) for name in NAMES] == [ConcatBridge, SEBridge, GatedBridge, AttentionBridge]
    assert all(isinstance(build(name), Bridge) for name in NAMES)
    assert [bridges.coarsest(name) for name in NAMES] == [None, None, None, 2]


def test_a_bridge_of_ones_own(tmp_path, monkeypatch):
    (tmp_path / "own_bridges.py").write_text(
        "from torch import nn\n"
        "from segkit.necks.bridges.bridge import Bridge\n"
        "class Scaled(Bridge):\n"
        "    coarsest = 1\n"
        "    def __init__(self, colour, depth, *, scale=1.0):\n"
        "        super().__init__()\n"
        "        self.scale, self.project = scale, nn.Conv2d(depth, colour, 1)\n"
        "    def forward(self, colour, depth, valid):\n"
        "        return colour + self.scale * self.project(depth * valid)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    bridge = bridges.create("own_bridges:Scaled", colour=3, depth=2, scale=0.5)
    assert (bridge.scale, bridge.project.weight.shape) == (0.5, (3, 2, 1, 1))
    assert bridges.coarsest("own_bridges:Scaled") == 1
    with pytest.raises(ValueError, match="bridge 'own_bridges:Scaled' has no option 'scal'; it takes: scale"):
        bridges.create("own_bridges:Scaled", colour=3, depth=2, scal=1)
    with pytest.raises(ValueError, match=r"expected a subclass of segkit\.necks\.bridges\.bridge\.Bridge"):
        bridges.create("pathlib:Path", colour=3, depth=2)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("gate", {}, "no bridge is called 'gate'; did you mean 'gated'"),
        (5, {}, "the bridge's name is 5; expected one of concat, se, gated, attention, and yours as package"),
        ("gated", {"width": 5}, "bridge 'gated' has no option 'width'; it takes: none"),
        ("concat", {"width": 0}, "bridge 'concat': width is 0; expected 1 or more"),
        ("se", {"reduction": "16"}, "bridge 'se': reduction is '16'; expected a valid integer"),
        ("attention", {"width": 12, "heads": 8}, "width is 12 and heads 8; expected a multiple"),
    ],
)
def test_what_is_no_bridge_is_said(name, options, message):
    with pytest.raises(ValueError, match=message):
        bridges.create(name, colour=4, depth=4, **options)


def test_bridges_are_no_necks():
    assert not set(NAMES) & set(necks.names())


def test_importing_the_package_does_not_import_torch():
    code = "import sys, segkit.necks.bridges; print('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"
