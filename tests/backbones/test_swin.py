"""Swin: the same numbers as torchvision's, at any size, with any number of channels, in every way it is run."""

import copy

import pytest
import torch
import torch.nn.functional as F
import torchvision

from segkit import backbones
from segkit.backbones import swin as swin_module
from segkit.backbones.swin import PatchMerging, Swin, WindowAttention
from segkit.backbones.weights import load_weights

SMALL = {"embed_dim": 8, "depths": (2, 2), "heads": (1, 2), "window": 3}


def small(**options):
    return Swin(**{**SMALL, **options})


def peer_levels(peer, image):
    """torchvision's stages; its patch convolution drops what ours fills up with zeros, so it is given the zeros."""
    x, levels = F.pad(image, (0, -image.shape[-1] % 4, 0, -image.shape[-2] % 4)), []
    for i, part in enumerate(peer.features):
        x = part(x)
        if i % 2:
            levels.append(x.permute(0, 3, 1, 2))
    return levels


def assert_same_levels(ours, theirs):
    for level, reference in zip(ours, theirs, strict=True):
        torch.testing.assert_close(level, reference, atol=1e-4, rtol=0)


@pytest.fixture(scope="module")
def peer():
    torch.manual_seed(0)
    return torchvision.models.swin_t(weights=None).eval()


@pytest.fixture(scope="module")
def tiny(peer):
    return backbones.create("swin_tiny", weights=peer.state_dict()).eval()


@pytest.mark.parametrize("size", [(224, 224), (256, 256), (320, 480), (300, 301), (97, 513)])
@torch.no_grad()
def test_tiny_agrees_with_torchvision_given_the_same_weights(peer, tiny, size):
    image = torch.randn(1, 3, *size)
    assert_same_levels(tiny(image), peer_levels(peer, image))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "build"), [("small", "swin_s"), ("base", "swin_b")])
@torch.no_grad()
def test_small_and_base_agree_with_torchvision(name, build):
    reference = torchvision.models.get_model(build, weights=None).eval()
    swin = backbones.create(f"swin_{name}", weights=reference.state_dict()).eval()
    image = torch.randn(1, 3, 224, 224)
    assert_same_levels(swin(image), peer_levels(reference, image))


@torch.no_grad()
def test_base_shape_at_reduced_depth_agrees_with_torchvision():
    from torchvision.models.swin_transformer import SwinTransformer

    depths, heads = [1, 2], [4, 8]
    reference = SwinTransformer([4, 4], 128, depths, heads, [7, 7]).eval()
    swin = backbones.create("swin_base", depths=depths, heads=heads, weights=reference.state_dict()).eval()
    image = torch.randn(1, 3, 97, 130)
    assert_same_levels(swin(image), peer_levels(reference, image))


def test_gradients_agree_with_torchvision():
    from torchvision.models.swin_transformer import SwinTransformer

    reference = SwinTransformer([4, 4], 8, [2, 2], [1, 2], [3, 3], stochastic_depth_prob=0.0)
    swin = backbones.create("swin", **SMALL, drop_path=0.0, weights=reference.state_dict())
    image = torch.randn(2, 3, 33, 47)
    sum((level**2).sum() for level in swin(image)).backward()
    sum((level**2).sum() for level in peer_levels(reference, image)).backward()
    table = "attn.relative_position_bias_table"
    pairs = [
        (swin.layers[0].shrink.project.weight.grad, reference.features[0][0].weight.grad),
        (swin.layers[0].blocks[1].attention.bias_table.grad, reference.features[1][1].get_parameter(table).grad),
        (swin.layers[1].shrink.reduction.weight.grad, reference.features[2].reduction.weight.grad),
    ]
    for ours, theirs in pairs:
        torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(("name", "build"), [("tiny", "swin_t"), ("small", "swin_s"), ("base", "swin_b")])
def test_parameters_are_torchvisions_less_final_norm_and_head(name, build):
    def count(module):
        return sum(p.numel() for p in module.parameters())

    with torch.device("meta"):
        reference = torchvision.models.get_model(build, weights=None)
        swin = backbones.create(f"swin_{name}")
    assert count(swin) == count(reference) - count(reference.norm) - count(reference.head)


def test_tiny_has_the_papers_pyramid():
    with torch.device("meta"):
        swin = backbones.create("swin_tiny")
    assert swin.channels == (96, 192, 384, 768)
    assert swin.strides == (4, 8, 16, 32)
    assert [len(stage.blocks) for stage in swin.stages] == [2, 2, 6, 2]


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("size", [(33, 47), (97, 130), (1, 1), (5, 2)])
@pytest.mark.parametrize("options", [{}, {"mask_padding": True}, {"shrink_window": True}, {"out_norm": True}])
@torch.no_grad()
def test_levels_have_ceil_sizes_at_any_size(size, channels, options):
    swin = small(in_channels=channels, **options).eval()
    for level, width, stride in zip(swin(torch.randn(2, channels, *size)), swin.channels, swin.strides, strict=True):
        assert level.shape == (2, width, -(-size[0] // stride), -(-size[1] // stride))
        assert level.isfinite().all()


def test_patch_two_makes_strides_from_two():
    assert small(patch_size=2).strides == (2, 4)


@torch.no_grad()
def test_selected_levels_are_the_same_maps_and_coarser_stages_are_not_built():
    whole = small(depths=(1, 1, 1), heads=(1, 2, 4)).eval()
    part = small(depths=(1, 1, 1), heads=(1, 2, 4), levels=(1,)).eval()
    load_weights(part, whole.state_dict())
    image = torch.randn(1, 3, 32, 32)
    assert len(part.stages) == 2
    assert (part.channels, part.strides) == ((16,), (8,))
    assert torch.equal(part(image)[0], whole(image)[1])


@torch.no_grad()
def test_out_norm_normalises_every_level():
    for level in small(out_norm=True).eval()(torch.randn(1, 3, 32, 32)):
        torch.testing.assert_close(level.mean(1), torch.zeros_like(level[:, 0]), atol=1e-5, rtol=0)
        torch.testing.assert_close(level.var(1, correction=0), torch.ones_like(level[:, 0]), atol=1e-2, rtol=0)


@torch.no_grad()
def test_patch_merging_stacks_two_by_two_tokens_column_by_column():
    merging = PatchMerging(1)
    merging.norm, merging.reduction = torch.nn.Identity(), torch.nn.Identity()
    x = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]).view(1, 2, 3, 1)
    assert merging(x).view(2, 4).tolist() == [[1, 4, 2, 5], [3, 6, 0, 0]]


# Attention


@torch.no_grad()
def test_masked_padding_makes_a_padded_window_answer_as_a_shrunk_one():
    padded = WindowAttention(8, 2, 4, shift=2, mask_padding=True).eval()
    shrunk = WindowAttention(8, 2, 4, shift=2, shrink_window=True).eval()
    shrunk.load_state_dict(padded.state_dict())
    x = torch.randn(2, 3, 2, 8)
    torch.testing.assert_close(padded(x), shrunk(x))


@torch.no_grad()
def test_unmasked_padding_is_seen():
    masked = WindowAttention(8, 2, 4, shift=0, mask_padding=True).eval()
    unmasked = WindowAttention(8, 2, 4, shift=0).eval()
    unmasked.load_state_dict(masked.state_dict())
    x = torch.randn(1, 5, 5, 8)
    assert not torch.allclose(masked(x), unmasked(x))
    torch.testing.assert_close(masked(x[:, :4, :4]), unmasked(x[:, :4, :4]))


@pytest.mark.parametrize("shift", [0, 2])
def test_gradients_stay_finite_where_whole_windows_are_padding(shift):
    attention = WindowAttention(8, 2, 4, shift=shift, mask_padding=True)
    x = torch.randn(1, 5, 9, 8, requires_grad=True)
    attention(x).sum().backward()
    assert x.grad.isfinite().all()
    assert all(p.grad.isfinite().all() for p in attention.parameters())


@torch.no_grad()
def test_opposite_edges_do_not_see_each_other_through_the_roll():
    attention = WindowAttention(8, 2, 4, shift=2).eval()
    x = torch.randn(1, 8, 8, 8)
    changed = x.clone()
    changed[:, 7] += 1  # the last row shares a rolled window with the first two
    assert torch.equal(attention(x)[:, :2], attention(changed)[:, :2])
    assert not torch.equal(attention(x)[:, 6], attention(changed)[:, 6])


@torch.no_grad()
def test_bias_table_is_read_by_relative_position():
    attention = WindowAttention(2, 1, 2, shift=0)
    attention.bias_table.copy_(torch.arange(9.0)[:, None])
    # Tokens 0 1 / 2 3; entry 3·(row + 1) + column + 1 for the query's position relative to the key's.
    assert attention._spread_bias((2, 2), torch.float32)[0].tolist() == [
        [4, 3, 1, 0],
        [5, 4, 2, 1],
        [7, 6, 4, 3],
        [8, 7, 5, 4],
    ]


# What is kept between calls


def warm_swin():
    swin = small().eval()
    image = torch.randn(1, 3, 33, 47)
    with torch.no_grad():
        swin(image)
    assert swin.layers[0].blocks[0].attention._kept_bias is not None
    return swin, image


def assert_as_without_cache(swin, image):
    """With gradients on nothing is kept, so that is the reference."""
    with torch.no_grad():
        kept = swin(image)
    for level, reference in zip(kept, swin(image), strict=True):
        torch.testing.assert_close(level, reference, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("fused", [False, True])
def test_kept_bias_follows_an_optimiser_step(fused):
    swin, image = warm_swin()
    swin, image = swin.double(), image.double()  # a step this large makes float32's rounding show
    with torch.no_grad():
        swin(image)
    optimiser = torch.optim.AdamW(swin.parameters(), lr=1.0, fused=fused)
    sum((level**2).sum() for level in swin(image)).backward()
    with torch.no_grad():
        swin(image)  # predicting between gradient and step must not keep the old table
    optimiser.step()
    optimiser.zero_grad()
    assert_as_without_cache(swin, image)


@pytest.mark.parametrize("assign", [False, True])
def test_kept_bias_follows_load_state_dict(assign):
    swin, image = warm_swin()
    state = {key: value + 1 if key.endswith("bias_table") else value for key, value in small().state_dict().items()}
    state["layers.0.blocks.0.attention.bias_table"] = torch.randn(25, 1)
    swin.load_state_dict(state, assign=assign)
    assert_as_without_cache(swin, image)


def test_kept_bias_follows_a_change_of_dtype():
    swin, image = warm_swin()
    assert_as_without_cache(swin.double(), image.double())


def test_a_copy_learns_apart_from_its_original():
    swin, image = warm_swin()
    twin = copy.deepcopy(swin)
    with torch.no_grad():
        assert all(torch.equal(a, b) for a, b in zip(swin(image), twin(image), strict=True))
        before = swin(image)
        for block in twin.layers[0].blocks:
            block.attention.bias_table.normal_()
        assert not torch.equal(twin(image)[0], before[0])
        assert torch.equal(swin(image)[0], before[0])


def test_training_works_after_predicting_in_inference_mode():
    swin = small().eval()
    image = torch.randn(1, 3, 41, 43)
    with torch.inference_mode():
        swin(image)
    swin.train()
    sum(level.sum() for level in swin(image)).backward()
    with torch.inference_mode():
        swin.eval()(image)


def test_state_dict_holds_parameters_alone_and_restores_equality():
    swin, image = warm_swin()
    assert set(swin.state_dict()) == {name for name, _ in swin.named_parameters()}
    twin = small().eval()
    twin.load_state_dict(swin.state_dict())
    with torch.no_grad():
        assert all(torch.equal(a, b) for a, b in zip(swin(image), twin(image), strict=True))


def test_predicting_in_pieces_changes_neither_the_answer_nor_the_input(monkeypatch):
    monkeypatch.setattr(swin_module, "CACHED_TOKENS", 5)
    block = small().layers[0].blocks[1].eval()
    x = torch.randn(2, 4, 7, 8)
    before = x.clone()
    with torch.no_grad():
        torch.testing.assert_close(block(x), block.mlp(block.norm2(y := x + block.attention(block.norm1(x)))) + y)
    assert torch.equal(x, before)


@pytest.mark.parametrize("shift", [0, 2])
@pytest.mark.parametrize("size", [(8, 12), (7, 13), (3, 2)])
@pytest.mark.parametrize("pieces", [1, 4000, 20000, 1 << 21])  # bytes: a window, some, an image, all
def test_windows_in_pieces_gather_the_same(monkeypatch, shift, size, pieces):
    attention = swin_module.WindowAttention(8, 2, 4, shift=shift, mask_padding=shift > 0).eval()
    torch.nn.init.normal_(attention.bias_table)
    x = torch.randn(3, *size, 8)
    whole = attention(x)
    monkeypatch.setattr(swin_module, "CACHED_BYTES", pieces)
    with torch.no_grad():
        torch.testing.assert_close(attention(x), whole)


def test_parts_of_somebodys_own_in_an_mlp_are_asked():
    mlp, x = swin_module.MLP(8, 16).eval(), torch.randn(5, 8)
    first, _, second = mlp
    mlp[1] = torch.nn.ReLU()
    torch.testing.assert_close(mlp(x), second(first(x).relu()))
    mlp[0] = torch.nn.Linear(8, 16)
    torch.testing.assert_close(mlp(x), second(mlp[0](x).relu()))
    mlp[1] = torch.nn.GELU("tanh")
    torch.testing.assert_close(mlp(x), second(torch.nn.functional.gelu(mlp[0](x), approximate="tanh")))


@pytest.mark.parametrize("low", [True, False])
@torch.no_grad()
def test_hooks_see_each_part_once_and_whole(monkeypatch, low):
    monkeypatch.setattr(swin_module, "CACHED_TOKENS", 5)
    block, x = small().layers[0].blocks[1].eval(), torch.randn(2, 4, 7, 8)
    with torch.autocast("cpu", torch.bfloat16, enabled=low):
        expected = block(x)
        for part in (block.norm2, block.mlp, *block.mlp):
            seen = []
            hook = part.register_forward_hook(lambda _module, _given, found, seen=seen: seen.append(found))
            # In bfloat16 GELU is then rounded by itself.
            torch.testing.assert_close(block(x), expected, atol=1e-3 if low else 1e-5, rtol=1e-5)
            hook.remove()
            assert [found.shape[:-1] for found in seen] == [x.shape[:-1]]


@pytest.mark.parametrize("learns", [True, False])
def test_no_images_have_no_levels_to_speak_of(learns):
    with torch.set_grad_enabled(learns):
        assert [len(level) for level in small().eval()(torch.empty(0, 3, 33, 47))] == [0, 0]


def test_a_bias_at_a_used_address_is_not_taken_for_the_old_one():
    attention, x = swin_module.WindowAttention(8, 2, 4, shift=0).eval(), torch.randn(1, 8, 8, 8)
    twin = copy.deepcopy(attention)
    for _ in range(20):
        table = torch.randn(49, 2)
        with torch.no_grad():
            attention(x)
            for _ in range(2):
                attention.load_state_dict({**attention.state_dict(), "bias_table": table.clone()}, assign=True)
            twin.bias_table.copy_(table)
            assert torch.equal(attention(x), twin(x))


# Training


def test_every_parameter_learns():
    swin = small(out_norm=True, drop_path=0.0)
    sum((level**3).sum() for level in swin(torch.randn(2, 3, 33, 47))).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in swin.parameters())


def test_drop_path_rises_linearly_over_all_blocks():
    swin = Swin(embed_dim=8, depths=(1, 2, 2), heads=(1, 1, 1), drop_path=0.4, levels=(0, 1))
    rates = [block.drop_path.rate for stage in swin.stages for block in stage.blocks]
    assert rates == pytest.approx([0.0, 0.1, 0.2])


def test_weights_start_as_in_the_paper():
    torch.manual_seed(0)
    swin = Swin(embed_dim=48, depths=(2,), heads=(3,))
    attention = swin.layers[0].blocks[0].attention
    assert attention.qkv.weight.std().item() == pytest.approx(0.02, rel=0.1)
    assert attention.bias_table.std().item() == pytest.approx(0.02, rel=0.2)
    assert attention.qkv.bias.abs().sum() == 0


# Ways to run


def test_compiles_as_one_graph():
    swin = small(depths=(2,), heads=(1,), mask_padding=True).eval()
    image = torch.randn(1, 3, 33, 47)
    with torch.no_grad():
        compiled = torch.compile(swin, fullgraph=True, backend="aot_eager")(image)
        for level, reference in zip(compiled, swin(image), strict=True):
            torch.testing.assert_close(level, reference, atol=1e-5, rtol=1e-5)


def test_exports():
    swin = small().eval()
    image = torch.randn(1, 3, 33, 47)
    with torch.no_grad():
        exported = torch.export.export(swin, (image,)).module()(image)
        for level, reference in zip(exported, swin(image), strict=True):
            torch.testing.assert_close(level, reference, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_bfloat16_autocast_stays_close():
    swin = small().eval()
    image = torch.randn(1, 3, 33, 47)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = swin(image)
    for level, reference in zip(rounded, swin(image), strict=True):
        torch.testing.assert_close(level.float(), reference, atol=0.05, rtol=0.05)


def test_trains_under_bfloat16_autocast():
    swin = small()
    with torch.autocast("cpu", torch.bfloat16):
        sum(level.float().sum() for level in swin(torch.randn(2, 3, 33, 47))).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in swin.parameters())


@torch.no_grad()
def test_memory_format_changes_nothing():
    swin = small().eval()
    image = torch.randn(2, 3, 33, 47)
    plain = swin(image)
    for level, reference in zip(
        swin.to(memory_format=torch.channels_last)(image.to(memory_format=torch.channels_last)), plain, strict=True
    ):
        torch.testing.assert_close(level, reference, atol=1e-5, rtol=1e-5)
        assert level.is_contiguous(memory_format=torch.channels_last)


# Presets for small images


def test_swin_cifar10_has_its_shape():
    with torch.device("meta"):
        swin = backbones.create("swin_cifar10")
    assert (swin.channels, swin.strides) == ((96, 192, 384), (2, 4, 8))
    assert [len(stage.blocks) for stage in swin.stages] == [2, 6, 4]
    assert [stage.blocks[0].attention.heads for stage in swin.stages] == [3, 6, 12]
    assert {block.attention.window for stage in swin.stages for block in stage.blocks} == {4}
    assert swin.layers[0].blocks[0].mlp[0].out_features == 2 * 96


def test_swin_tiny_imagenet_has_its_shape():
    with torch.device("meta"):
        swin = backbones.create("swin_tiny_imagenet")
    assert (swin.channels, swin.strides) == ((96, 192, 384, 768), (4, 8, 16, 32))
    assert [stage.blocks[0].attention.heads for stage in swin.stages] == [2, 4, 8, 16]
    blocks = [block for stage in swin.stages for block in stage.blocks]
    assert {block.attention.window for block in blocks} == {7}
    rates = ["0", "0.0182", "0.0364", "0.0545", "0.0727", "0.0909", "0.109", "0.127", "0.145", "0.164", "0.182", "0.2"]
    assert [f"{block.drop_path.rate:.3g}" for block in blocks] == rates


@pytest.mark.parametrize("name", [name for name in backbones.names() if name.startswith("swin")])
def test_only_the_presets_for_small_images_shrink_their_windows(name):
    with torch.device("meta"):
        swin = backbones.create(name)
    shrinks = {block.attention.shrink_window for stage in swin.stages for block in stage.blocks}
    assert shrinks == {name in ("swin_cifar10", "swin_tiny_imagenet")}


# Cost


def multiplications(size):
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        small(window=4).eval()(torch.empty(1, 3, size, size))
    return counter.get_total_flops()


def kept(size):
    numbers = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: numbers.append(t.numel()), lambda t: t):
        small(window=4, drop_path=0.0)(torch.zeros(1, 3, size, size))
    return sum(numbers)


def test_work_and_memory_grow_with_the_pixels_and_no_faster():
    assert multiplications(256) == 4 * multiplications(128)
    assert kept(256) < 4.01 * kept(128)


# What it refuses


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"heads": (1,)}, r"heads is \[1\]; expected one divisor for each stage's channels \[8, 16\]"),
        ({"heads": (3, 2)}, r"heads is \[3, 2\]; expected one divisor"),
        ({"drop_path": 1.5}, r"drop_path is 1.5; expected a share in 0..1"),
        ({"in_channels": 0}, r"in_channels is 0; expected 1 or more"),
        ({"window": 0}, r"patch_size is 4 and window 0; expected 1 or more"),
        ({"levels": (0, 2)}, r"levels is \[0, 2\]; expected rising indices among 0..1"),
        ({"levels": ()}, r"levels is \[\]; expected rising indices among 0..1"),
    ],
)
def test_what_cannot_be_built_is_said(options, message):
    with pytest.raises(ValueError, match=message):
        small(**options)
