"""A bridged backbone is its colour backbone where there is no depth, and both where there is."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from segkit import backbones
from segkit.backbones.backbone import Backbone
from segkit.backbones.bridged import Bridged, bridged_levels, nearest_level
from segkit.backbones.recompute import recompute_stages
from segkit.backbones.stem import Stem, Stemmed
from segkit.backbones.swin import Swin
from segkit.necks import bridges

SIZES = [(33, 47), (97, 130), (1, 1)]
OPTIONS = {"attention": {"width": 8, "heads": 2, "tokens": 2}}
PAIRS = {
    "stems": (lambda: Stem(width=4, depth=3), lambda: Stem(in_channels=2, width=2, depth=3)),
    "swin and resnet18": (
        lambda: Swin(embed_dim=8, depths=(1, 1), heads=(1, 2), window=3),
        lambda: backbones.create("resnet18", in_channels=2, levels=(1, 2)),
    ),
    "resnet50 and resnet18": (
        lambda: backbones.create("resnet50", levels=(0, 1)),
        lambda: backbones.create("resnet18", in_channels=2, levels=(0, 1)),
    ),
    "stemmed and stem": (
        lambda: Stemmed(Swin(embed_dim=8, depths=(1,), heads=(1,), window=3), width=4),
        lambda: Stem(in_channels=2, width=4, depth=3),
    ),
    "finer depth": (lambda: Stem(width=4, depth=3, levels=(2,)), lambda: Stem(in_channels=2, width=4, depth=1)),
    "coarser depth": (
        lambda: Stem(width=4, depth=2),
        lambda: Swin(in_channels=2, embed_dim=8, depths=(1,), heads=(1,), window=3),
    ),
}
CASES = [
    *((pair, "gated", size) for pair in PAIRS for size in SIZES),
    *(("stems", name, size) for name in bridges.names() if name != "gated" for size in SIZES),
    ("swin and resnet18", "attention", (33, 47)),
    ("resnet50 and resnet18", "concat", (33, 47)),
]
each_case = pytest.mark.parametrize(("pair", "name", "size"), CASES)
each_pair = pytest.mark.parametrize("pair", PAIRS)
each_bridge = pytest.mark.parametrize("name", bridges.names())


def put_together(colour, depth, name="gated", levels=None):
    common = set(colour.strides) & set(depth.strides)
    chosen = bridged_levels(colour.strides, depth.strides, levels=levels) if common else range(len(colour.strides))
    built = [
        bridges.create(
            name,
            colour=channels,
            depth=depth.channels[nearest_level(stride, depth.strides)],
            **OPTIONS.get(name, {}),
        )
        if i in chosen
        else None
        for i, (channels, stride) in enumerate(zip(colour.channels, colour.strides, strict=True))
    ]
    return Bridged(colour, depth, built)


def new(pair="stems", name="gated"):
    torch.manual_seed(0)
    colour, depth = (build() for build in PAIRS[pair])
    return put_together(colour, depth, name)


def taught(pair="stems", name="gated"):
    """Bridges with random weights, as after some training."""
    bridged = new(pair, name)
    for parameter in bridged.bridges.parameters():
        nn.init.normal_(parameter, std=0.3)
    return bridged


def inputs(size=(33, 47), present=(True, False, True), holes=0.5):
    """Images, values and validity: the absent pictures' values are no numbers, since nothing may look at them."""
    generator = torch.Generator().manual_seed(1)
    image, values = (torch.randn(len(present), c, *size, generator=generator) for c in (3, 1))
    valid = (torch.rand(len(present), 1, *size, generator=generator) > holes).float()
    valid[:, :, 0, 0] = 1
    here = torch.tensor(present).view(-1, 1, 1, 1)
    return image, torch.cat([torch.where(here, values, torch.nan), valid * here], dim=1)


def statistics(module):
    return {key: value.clone() for key, value in module.named_buffers()}


def same(these, those):
    return len(these) == len(those) and all(torch.equal(a, b) for a, b in zip(these, those, strict=True))


class Probe(nn.Module):
    """A bridge that keeps what it is given."""

    def forward(self, colour, depth, valid):
        self.depth, self.valid = depth, valid
        return colour


class Sampled(Backbone):
    """Every stride-th pixel of the image; or of what it is given at a stride of its own."""

    def __init__(self, *strides):
        super().__init__()
        self.strides, self.channels = strides, (2,) * len(strides)

    @property
    def stages(self):
        return []

    def forward(self, image, depth=None):
        return [image[..., ::stride, ::stride] for stride in self.strides]


# Pictures without depth


@each_case
@torch.no_grad()
def test_no_depth_and_absent_depth_are_the_colour_pyramid_to_the_bit(pair, name, size):
    bridged = taught(pair, name).eval()
    image, depth = inputs(size, present=(False, False))
    colour = bridged.colour(image)
    assert (bridged.channels, bridged.strides) == (bridged.colour.channels, bridged.colour.strides)
    assert same(bridged(image), colour)
    assert same(bridged(image, depth), colour)


@each_case
@torch.no_grad()
def test_absent_pictures_pass_and_present_ones_are_as_alone(pair, name, size):
    bridged = taught(pair, name).eval()
    image, depth = inputs(size)
    levels, colour, alone = bridged(image, depth), bridged.colour(image), bridged(image[::2], depth[::2])
    told = [str(i) in bridged.bridges for i in range(len(levels))]
    assert any(told)
    for level, plain, present, has_bridge in zip(levels, colour, alone, told, strict=True):
        assert level.isfinite().all()
        assert torch.equal(level[1], plain[1])
        torch.testing.assert_close(level[::2], present, atol=1e-4, rtol=1e-4)
        assert torch.equal(level[0], plain[0]) != has_bridge


@each_case
@torch.no_grad()
def test_new_bridges_leave_a_present_picture_as_it_is(pair, name, size):
    bridged = new(pair, name).eval()
    image, depth = inputs(size, present=(True, True))
    assert same(bridged(image, depth), bridged.colour(image))
    with torch.autocast("cpu", torch.bfloat16):
        assert same(bridged(image, depth), bridged.colour(image))


@settings(max_examples=25, deadline=None)
@given(
    present=st.lists(st.booleans(), min_size=2, max_size=4),
    size=st.tuples(st.integers(1, 13), st.integers(1, 13)),
    name=st.sampled_from(bridges.names()),
)
def test_absent_pictures_do_not_touch_statistics(present, size, name):
    bridged = taught("stems", name).train()
    twin = copy.deepcopy(bridged)
    image, depth = inputs(size, present)
    levels = bridged(image, depth)
    colour = twin.colour(image)  # of the same batch, so with the same statistics
    rows = [i for i, here in enumerate(present) if here]
    if rows:
        twin._told([level[rows] for level in colour], twin.depth(depth[rows]), depth[rows, 1:])
    for (key, value), (_, expected) in zip(bridged.named_buffers(), twin.named_buffers(), strict=True):
        assert torch.equal(value, expected), key
    for i, here in enumerate(present):
        if not here:
            assert all(torch.equal(level[i], plain[i]) for level, plain in zip(levels, colour, strict=True))


# One value a channel


@pytest.mark.parametrize("recomputed", [False, True])
@each_bridge
def test_one_present_picture_of_one_pixel_trains(name, recomputed):
    bridged = taught("stems", name).train()
    if recomputed:
        recompute_stages(bridged)
    image, depth = inputs((4, 4), present=(False, True, False))
    finest, _, coarsest = bridged.depth.layers  # the last one's maps are of one pixel
    before = [statistics(part) for part in (finest, coarsest)]
    sum((level**2).sum() for level in bridged(image, depth)).backward()
    for part, values, stand_still in ((finest, before[0], False), (coarsest, before[1], True)):
        assert all(torch.equal(value, values[key]) == stand_still for key, value in part.named_buffers())
    assert all(part.training for part in bridged.modules())
    parts = [*bridged.depth.named_parameters(), *bridged.bridges.named_parameters()]
    assert [key for key, p in parts if p.grad is None or not p.grad.isfinite().all()] == []
    assert coarsest[1].weight.grad is not None


def test_a_norm_that_fails_learns_again():
    bridged = new().train()
    norm = bridged.depth.layers[0][1]
    with pytest.raises(RuntimeError):
        norm(torch.zeros(1, 3, 1, 1))
    assert norm.training


def test_one_present_picture_at_32_pixels_trains_a_resnet():
    colour, depth = (backbones.create("resnet18", in_channels=channels) for channels in (3, 2))
    bridged = put_together(colour, depth).train()
    image, encoded = inputs((32, 32), present=(False, True))
    assert all(level.isfinite().all() for level in bridged(image, encoded))


# Learning


@each_pair
def test_gradients_reach_both(pair):
    bridged = taught(pair, "concat").train()
    image, depth = inputs()
    sum((level**3).mean() for level in bridged(image, depth)).backward()
    assert [key for key, p in bridged.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


def test_a_batch_without_depth_trains_colour_alone():
    bridged = taught().train()
    image, depth = inputs(present=(False, False))
    for given_depth in (depth, None):
        bridged.zero_grad()
        sum((level**2).sum() for level in bridged(image, given_depth)).backward()
        assert all(p.grad.abs().sum() > 0 for p in bridged.colour.parameters())
        assert all(p.grad is None for part in (bridged.depth, bridged.bridges) for p in part.parameters())


def test_gradients_of_a_mixed_batch_are_those_of_its_parts():
    bridged = taught(name="se").eval()
    image, depth = inputs()
    target = [torch.randn(level.shape) for level in bridged(image, depth)]

    def gradients(rows, given_depth):
        bridged.zero_grad()
        levels = bridged(image[rows], given_depth)
        sum((level * t[rows]).sum() for level, t in zip(levels, target, strict=True)).backward()
        return {key: p.grad.clone() for key, p in bridged.named_parameters() if p.grad is not None}

    mixed = gradients([0, 1, 2], depth)
    present, absent = gradients([0, 2], depth[[0, 2]]), gradients([1], None)
    for key, value in mixed.items():
        torch.testing.assert_close(value, present[key] + absent.get(key, 0), atol=1e-3, rtol=1e-4)


def test_at_first_the_depth_backbone_learns_from_its_own_levels_alone():
    bridged = new().train()
    image, depth = inputs()
    fused, own, present = bridged.with_depth_levels(image, depth)
    sum((level**2).sum() for level in fused).backward()
    assert all(p.grad is None or p.grad.abs().sum() == 0 for p in bridged.depth.parameters())
    fused, own, present = bridged.with_depth_levels(image, depth)
    sum((level**2).sum() for level in own).backward()
    assert all(p.grad.abs().sum() > 0 for p in bridged.depth.parameters())


@pytest.mark.parametrize("present", [(True, False, True), (True, True), (False, False)])
def test_the_depth_backbone_s_own_levels_are_zero_in_absent_pictures(present):
    bridged = taught("coarser depth").eval()
    image, depth = inputs((33, 46), present)
    fused, own, found = bridged.with_depth_levels(image, depth)
    assert found.tolist() == list(present)
    assert same(fused, bridged(image, depth))
    rows = [i for i, here in enumerate(present) if here]
    assert [tuple(level.shape) for level in own] == [(len(present), 8, 9, 12)]
    if rows:
        assert torch.equal(own[0][rows], bridged.depth(depth[rows])[0])
    assert own[0].abs().flatten(1).sum(1).bool().tolist() == list(present)


def test_without_depth_its_own_levels_are_zeros():
    bridged = taught("coarser depth").eval()
    image = torch.randn(2, 3, 33, 46)
    fused, own, present = bridged.with_depth_levels(image)
    assert same(fused, bridged.colour(image))
    assert torch.equal(own[0], torch.zeros(2, 8, 9, 12))
    assert present.tolist() == [False, False]


def test_freezing_stops_the_colour_trunks_alone():
    bridged = new("stemmed and stem")
    bridged.freeze("all")
    bridged.train()
    learning = {name.split(".")[0] for name, p in bridged.named_parameters() if p.requires_grad}
    assert not any(p.requires_grad for p in bridged.colour.backbone.parameters())
    assert learning == {"colour", "depth", "bridges"}  # the stem is no trunk
    assert not any(part.training for stage in bridged.colour.backbone.stages for part in stage.modules())
    assert all(part.training for part in bridged.depth.modules())
    bridged.freeze(0)
    assert all(p.requires_grad for p in bridged.parameters())
    with pytest.raises(ValueError, match="can't freeze 2 stages; Swin has 1"):
        bridged.freeze(2)


def test_trunks_and_stages_are_colour_s_then_depth_s():
    bridged = new("stemmed and stem")
    assert bridged.trunks == [bridged.colour.backbone, bridged.depth]
    assert bridged.modalities == ("image", "depth")
    stages = bridged.stages
    assert stages[:-1] == [*bridged.colour.stages, *bridged.depth.stages]
    held = [id(p) for stage in stages for p in stage.parameters()]
    assert sorted(held) == sorted(id(p) for p in bridged.parameters())


def test_recomputed_stages_give_the_same_gradients():
    plain = taught("swin and resnet18").train()
    again = copy.deepcopy(plain)
    recompute_stages(again)
    image, depth = inputs()
    for bridged in (plain, again):
        torch.manual_seed(1)
        sum((level**2).sum() for level in bridged(image, depth)).backward()
    for (key, ours), theirs in zip(again.named_parameters(), plain.parameters(), strict=True):
        assert (ours.grad is None) == (theirs.grad is None), key
        assert ours.grad is None or torch.equal(ours.grad, theirs.grad), key
    assert same(list(again.buffers()), list(plain.buffers()))


# What a bridge is told


def probed(colour_strides, depth_strides):
    probes = [Probe() for _ in colour_strides]
    return Bridged(Sampled(*colour_strides), Sampled(*depth_strides), probes).eval(), probes


def test_valid_is_the_measured_share_of_each_cell_and_of_what_is_left_of_it_at_borders():
    bridged, probes = probed((1, 2, 4), (4,))
    valid = torch.tensor(
        [
            [1, 0, 1, 1, 0, 0, 1],
            [0, 0, 1, 1, 0, 1, 0],
            [1, 1, 0, 0, 1, 0, 0],
            [1, 1, 0, 1, 0, 0, 1],
            [1, 0, 0, 0, 1, 1, 1],
        ]
    ).float()
    bridged(torch.zeros(1, 2, 5, 7), torch.stack([valid, valid])[None])
    assert torch.equal(probes[0].valid[0, 0], valid)
    halves = torch.tensor([[1 / 4, 1, 1 / 4, 1 / 2], [1, 1 / 4, 1 / 4, 1 / 2], [1 / 2, 0, 1, 1]])
    assert torch.equal(probes[1].valid[0, 0], halves)
    assert torch.equal(probes[2].valid[0, 0], torch.tensor([[10, 4 * 16 / 12], [4, 4 * 4 / 3 * 3]]) / 16)


@pytest.mark.parametrize("stride", [3, 8, 32])
@pytest.mark.parametrize("size", SIZES)
def test_what_is_wholly_measured_is_told_so_at_borders_too(stride, size):
    bridged, (probe,) = probed((stride,), (stride,))
    bridged(torch.zeros(1, 2, *size), torch.ones(1, 2, *size))
    torch.testing.assert_close(probe.valid, torch.ones(1, 1, -(-size[0] // stride), -(-size[1] // stride)))


def test_levels_of_one_stride_are_handed_on_as_they_are():
    bridged, probes = probed((2, 4), (2, 4))
    depth = torch.rand(1, 2, 9, 7)
    bridged(torch.zeros(1, 2, 9, 7), depth)
    assert same([probe.depth for probe in probes], [depth[..., ::2, ::2], depth[..., ::4, ::4]])


def test_a_coarser_level_is_enlarged_on_the_same_grid():
    bridged, (probe,) = probed((2,), (4,))
    depth = torch.ones(1, 2, 10, 5)
    depth[0, 0] = torch.arange(10.0)[:, None]
    bridged(torch.zeros(1, 2, 10, 5), depth)  # samples of rows 0, 4, 8
    expected = torch.tensor([0.0, 1, 3, 5, 7])
    assert torch.equal(probe.depth[0, 0], expected[:, None].expand(5, 3))


def test_a_finer_level_is_shrunk_to_means():
    bridged, (probe,) = probed((6,), (2,))
    depth = torch.ones(1, 2, 13, 7)
    depth[0, 0] = torch.arange(13.0)[:, None]
    bridged(torch.zeros(1, 2, 13, 7), depth)  # samples of rows 0, 2, 4 and 6, 8, 10; 12 is alone
    torch.testing.assert_close(probe.depth[0, 0], torch.tensor([2.0, 8, 12])[:, None].expand(3, 2))


def test_grids_that_do_not_nest_are_brought_to_the_same_size():
    bridged, (probe,) = probed((3,), (2,))
    bridged(torch.zeros(1, 2, 13, 8), torch.ones(1, 2, 13, 8))
    assert torch.equal(probe.depth, torch.ones(1, 2, 5, 3))


# Ways to run it


@each_pair
@torch.no_grad()
def test_copies_and_state_dicts_agree(pair):
    bridged, twin = taught(pair).eval(), new(pair).eval()
    assert {name.split(".")[0] for name in bridged.state_dict()} == {"colour", "depth", "bridges"}
    twin.load_state_dict(bridged.state_dict())
    image, depth = inputs()
    expected = bridged(image, depth)
    for other in (twin, copy.deepcopy(bridged)):
        assert same(other(image, depth), expected)


def test_a_copy_spares_single_values_too():
    bridged = copy.deepcopy(new()).train()
    assert all(level.isfinite().all() for level in bridged(*inputs((4, 4), present=(False, True))))


@each_pair
@torch.no_grad()
def test_autocast_and_channels_last_agree(pair):
    bridged = taught(pair).eval()
    image, depth = inputs()
    expected = bridged(image, depth)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = bridged(image, depth)
        plain = bridged.colour(image)
    layout = {"memory_format": torch.channels_last}
    last = bridged.to(**layout)(image.to(**layout), depth.to(**layout))
    for level, low, colour, relaid in zip(expected, rounded, plain, last, strict=True):
        assert low.dtype == colour.dtype
        assert torch.equal(low[1], colour[1])
        assert (low.float() - level).norm() < 0.05 * level.norm()
        torch.testing.assert_close(relaid, level, atol=1e-3, rtol=1e-3)
    told = min(int(i) for i in bridged.bridges)
    assert last[told].is_contiguous(**layout)


@pytest.mark.parametrize(
    "name", ["se", "gated", *(pytest.param(name, marks=pytest.mark.slow) for name in ("concat", "attention"))]
)
@torch.no_grad()
def test_compiled_and_exported_with_mixed_pictures_agree(name):
    bridged = taught("swin and resnet18", name).eval()
    image, depth = inputs()
    depth = depth.nan_to_num()
    expected = bridged(image, depth)
    compiled = torch.compile(bridged, fullgraph=True, backend="aot_eager")(image, depth)
    exported = torch.export.export(bridged, (image, depth)).module()(image, depth)
    for reference, a, b in zip(expected, compiled, exported, strict=True):
        torch.testing.assert_close(a, reference, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(b, reference, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_one_exported_graph_takes_any_size_and_present_and_absent_pictures():
    bridged = taught("resnet50 and resnet18", "attention").eval()
    sizes = dict.fromkeys((0, 2, 3), torch.export.Dim.AUTO)
    image, depth = inputs((64, 80))
    exported = torch.export.export(bridged, (image, depth), dynamic_shapes=(sizes, sizes)).module()
    for size, present in (((33, 47), (False, True)), ((50, 20), (True, True, False))):
        image, depth = inputs(size, present)
        for level, reference in zip(exported(image, depth), bridged(image, depth), strict=True):
            torch.testing.assert_close(level, reference, atol=1e-4, rtol=1e-4)
    absent = exported(image, torch.full_like(depth, torch.nan).index_fill(1, torch.tensor([1]), 0))
    for level, plain in zip(absent, bridged.colour(image), strict=True):
        torch.testing.assert_close(level, plain, atol=1e-4, rtol=1e-4)


def test_compiled_training_learns():
    bridged = taught().train()
    image, depth = inputs(present=(True, True))
    twin = copy.deepcopy(bridged)
    sum((level**2).sum() for level in torch.compile(bridged, backend="aot_eager")(image, depth)).backward()
    sum((level**2).sum() for level in twin(image, depth)).backward()
    for ours, theirs in zip(bridged.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, atol=1e-2, rtol=1e-3)


def test_it_costs_nothing_on_the_meta_device():
    with torch.device("meta"):
        bridged = new("resnet50 and resnet18", "concat").eval()
        levels = bridged(torch.empty(2, 3, 33, 47), torch.empty(2, 2, 33, 47))
    assert [tuple(level.shape) for level in levels] == [(2, 64, 17, 24), (2, 256, 9, 12)]


# Which levels


@pytest.mark.parametrize(
    ("colour", "depth", "options", "expected"),
    [
        ((2, 4, 8, 16, 32), (2, 4, 8, 16, 32), {}, (0, 1, 2, 3, 4)),
        ((4, 8, 16, 32), (2, 4, 8, 16, 32), {}, (0, 1, 2, 3)),
        ((1, 2, 4, 8, 16, 32), (4, 8, 16, 32), {}, (2, 3, 4, 5)),
        ((1, 2, 4, 8, 16, 32), (4, 8, 16, 32), {"coarsest": 2}, (4, 5)),
        ((2, 4, 8, 16, 32), (2, 4, 8), {"coarsest": 2}, (1, 2)),
        ((2, 4), (2, 4), {"coarsest": 5}, (0, 1)),
        ((2, 4, 8, 16, 32), (2, 4, 8, 16, 32), {"levels": [1, 3], "coarsest": 1}, (1, 3)),
        ((3, 6), (4, 8), {"levels": [0]}, (0,)),
    ],
)
def test_levels_that_get_a_bridge(colour, depth, options, expected):
    assert bridged_levels(colour, depth, **options) == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, r"strides \[3, 6\] and the depth backbone \[4, 8\], none of them in common; name the levels to bridge"),
        ({"levels": [2]}, r"levels is \[2\]; expected rising indices among 0\.\.1, finest first"),
        ({"levels": [1, 0]}, "expected rising indices"),
        ({"levels": []}, "expected rising indices"),
    ],
)
def test_levels_that_cannot_get_one_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        bridged_levels((3, 6), (4, 8), **options)


@pytest.mark.parametrize(
    ("stride", "strides", "expected"),
    [(4, (2, 4, 8), 1), (1, (4, 8), 0), (32, (2, 4, 8), 2), (4, (2, 8), 0), (6, (4, 8), 1), (5, (4, 8), 0)],
)
def test_the_nearest_level_is_that_of_the_smallest_ratio_and_then_the_finer_one(stride, strides, expected):
    assert nearest_level(stride, strides) == expected


# What is refused


def test_backbones_that_see_more_than_an_image_are_refused():
    with pytest.raises(ValueError, match="the colour backbone sees image and depth; expected the image alone"):
        Bridged(new(), Stem(in_channels=2), [Probe()] * 3)
    with pytest.raises(ValueError, match="the depth backbone sees image and depth; expected the image alone"):
        Bridged(Stem(), new(), [Probe()] * 2)


def test_bridges_must_be_as_many_as_levels():
    with pytest.raises(ValueError, match="got 1 bridges for 2 levels of colour; expected one for each, None where"):
        Bridged(Stem(width=4), Stem(width=4, in_channels=2), [Probe()])
    with pytest.raises(ValueError, match="no level has a bridge; without one the depth backbone is of no use"):
        Bridged(Stem(width=4), Stem(width=4, in_channels=2), [None, None])


@pytest.mark.parametrize("shape", [(2, 8, 8), (1, 2, 8, 8), (2, 2, 8, 9), (2, 2, 7, 8), (2, 1, 8, 8)])
def test_a_depth_of_another_shape_is_refused(shape):
    message = rf"got depth \[{', '.join(map(str, shape))}\] for images \[2, 3, 8, 8\]; expected \[B, E \+ 1, H, W\]"
    with pytest.raises(ValueError, match=message):
        new()(torch.zeros(2, 3, 8, 8), torch.zeros(shape))


def test_a_depth_of_other_channels_is_refused_by_its_backbone():
    with pytest.raises(ValueError, match=r"Stem expects images \[B, 2, H, W\], got \[2, 4, 8, 8\]"):
        new()(torch.zeros(2, 3, 8, 8), torch.ones(2, 4, 8, 8))


def test_grids_that_do_not_nest_share_their_borders():
    bridged, (probe,) = probed((3,), (2,))
    depth = torch.ones(1, 2, 12, 6)
    depth[0, 0] = torch.arange(12.0)[:, None]
    bridged(torch.zeros(1, 2, 12, 6), depth)  # six samples 0, 2, … 10 on four cells
    torch.testing.assert_close(probe.depth[0, 0], torch.tensor([0.5, 3.5, 6.5, 9.5])[:, None].expand(4, 2))


@torch.no_grad()
def test_what_a_graph_computes_of_the_depth_backbone_is_zero_in_absent_pictures_too(monkeypatch):
    bridged = taught().eval()
    fused, own, present = bridged.with_depth_levels(*inputs())
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    found = bridged.with_depth_levels(*inputs())
    assert torch.equal(found[2], present)
    for ours, theirs in zip((*found[0], *found[1]), (*fused, *own), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)
