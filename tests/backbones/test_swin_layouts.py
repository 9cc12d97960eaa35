"""Swin's weights in every published layout, with windows of every size: the same answers as where they come from."""

import re

import pytest
import timm
import torch
import torch.nn.functional as F
from timm.models.swin_transformer import SwinTransformer

from segkit import backbones
from segkit.backbones.swin import Swin
from segkit.backbones.swin_layouts import resample_bias, swin_names
from segkit.backbones.weights import load_weights

SMALL = {"embed_dim": 8, "depths": (2, 2, 1), "window": 7}


@pytest.fixture(scope="module")
def peer():
    """timm's network at 224²: every map is at least a window, and sizes divide."""
    torch.manual_seed(0)
    options = {"embed_dim": 8, "depths": (2, 2, 1), "num_heads": (1, 2, 4), "window_size": 7}
    network = SwinTransformer(img_size=224, num_classes=5, **options).eval()
    for parameter in network.parameters():  # norms and biases that do something
        torch.nn.init.normal_(parameter, std=0.2)
    return network


def paper_layout(peer):
    """The names and the tables of the paper's code, where a stage ends with the shrinking that timm begins one with."""
    state = {}
    for key, value in peer.state_dict().items():
        key = re.sub(r"layers\.(\d)\.downsample", lambda found: f"layers.{int(found[1]) - 1}.downsample", key)
        state[key.replace("head.fc.", "head.")] = value
    for name, block in peer.named_modules():
        if name.endswith(".attn"):
            state[f"{name}.relative_position_index"] = block.relative_position_index
            state[f"{name.removesuffix('.attn')}.attn_mask"] = torch.zeros(64, 49, 49)
    return state


@pytest.mark.parametrize("layout", ["timm", "paper"])
@torch.no_grad()
def test_levels_are_those_of_the_network_that_the_weights_come_from(peer, layout, tmp_path):
    state = peer.state_dict() if layout == "timm" else paper_layout(peer)
    assert ("layers.0.downsample.reduction.weight" in state) == (layout == "paper")
    torch.save({"model": state}, tmp_path / "swin.pth")
    swin = Swin(**SMALL, heads=(1, 2, 4)).eval()
    report = load_weights(swin, tmp_path / "swin.pth")
    assert report.loaded == tuple(swin.state_dict())
    assert {"norm.weight", "head.bias" if layout == "paper" else "head.fc.bias"} <= set(report.unused)
    image = torch.randn(1, 3, 224, 224)
    expected = peer.forward_intermediates(image, intermediates_only=True)
    for level, reference in zip(swin(image), expected, strict=True):
        torch.testing.assert_close(level, reference, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("norms", [False, True])
def test_the_paper_s_other_files_are_taken(peer, norms):
    """For segmentation, with a norm for each level; of SimMIM, behind a prefix; timm's own pyramid."""
    state = paper_layout(peer)
    levels = {f"norm{i}.{kind}": torch.rand(8 * 2**i) for i in range(3) for kind in ("weight", "bias")}
    segmenter = {"state_dict": {f"backbone.{key}": value for key, value in {**state, **levels}.items()}}
    segmenter["state_dict"]["decode_head.conv_seg.weight"] = torch.zeros(1)
    masked = {f"encoder.{key}": value for key, value in {**state, "mask_token": torch.zeros(1, 1, 8)}.items()}
    pyramid = {key.replace("layers.", "layers_"): value for key, value in peer.state_dict().items()}
    for given in (segmenter, masked, pyramid):
        swin = Swin(**SMALL, heads=(1, 2, 4), out_norm=norms, levels=(0, 1, 2) if given is masked else (1, 2))
        load_weights(swin, given)
        assert torch.equal(swin.layers[2].shrink.norm.weight, peer.layers[2].downsample.norm.weight)
        if norms and given is segmenter:
            assert torch.equal(swin.norms["1"].weight, levels["norm1.weight"])


@pytest.mark.parametrize(
    ("name", "theirs", "window"),
    [
        ("swin_tiny", "swin_tiny_patch4_window7_224", 7),
        ("swin_small", "swin_small_patch4_window7_224", 7),
        ("swin_base", "swin_base_patch4_window12_384", 12),
        ("swin_large", "swin_large_patch4_window7_224", 7),
        ("swin_large", "swin_large_patch4_window12_384", 12),
    ],
)
def test_presets_have_the_published_shapes(name, theirs, window):
    with torch.device("meta"):
        network, swin = timm.create_model(theirs), backbones.create(name, window=window)
    found = {key: value.shape for key, value in swin_names(network.state_dict()).items()}
    assert found == {key: value.shape for key, value in swin.state_dict().items()}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "theirs", "window", "size"),
    [
        ("swin_tiny", "swin_tiny_patch4_window7_224", 7, 224),
        ("swin_base", "swin_base_patch4_window12_384", 12, 384),
        ("swin_large", "swin_large_patch4_window7_224", 7, 224),
        ("swin_large", "swin_large_patch4_window12_384", 12, 384),
    ],
)
@torch.no_grad()
def test_presets_agree_with_timm(name, theirs, window, size):
    network = timm.create_model(theirs).eval()
    swin = backbones.create(name, window=window, weights=network.state_dict()).eval()
    image = torch.randn(1, 3, size, size)
    expected = network.forward_intermediates(image, intermediates_only=True)
    for level, reference in zip(swin(image), expected, strict=True):
        torch.testing.assert_close(level, reference, atol=1e-4, rtol=1e-4)


# Another window


def paper_resampled(table, entries):
    """As in ``load_pretrained`` of the paper's code."""
    length, heads = table.shape
    side, new = int(length**0.5), int(entries**0.5)
    resized = F.interpolate(table.permute(1, 0).view(1, heads, side, side), size=(new, new), mode="bicubic")
    return resized.view(heads, entries).permute(1, 0)


@pytest.mark.parametrize("window", [3, 8, 12])
def test_a_table_for_another_window_is_the_papers(window):
    table, entries = torch.randn(13**2, 3), (2 * window - 1) ** 2
    assert torch.equal(resample_bias(table, entries), paper_resampled(table, entries))


def test_half_precision_tables_are_resampled_in_float32():
    table = torch.randn(13**2, 3).half()
    assert torch.equal(resample_bias(table, 25), paper_resampled(table.float(), 25))


def test_only_the_tables_change_with_the_window(peer):
    swin = Swin(**{**SMALL, "window": 4}, heads=(1, 2, 4))
    report = load_weights(swin, peer.state_dict())
    assert len(report.interpolated) == 5
    assert all(name.endswith("bias_table") for name in report.interpolated)
    table = peer.layers[1].blocks[1].attn.relative_position_bias_table
    ours = swin.layers[1].blocks[1].attention.bias_table
    torch.testing.assert_close(ours, paper_resampled(table, 49), atol=0, rtol=0)


@pytest.mark.parametrize("shape", [(168, 1), (169, 3), (169,)])
def test_a_table_of_other_heads_or_no_square_is_refused(peer, shape):
    state = {**peer.state_dict(), "layers.0.blocks.0.attn.relative_position_bias_table": torch.zeros(shape)}
    with pytest.raises(ValueError, match=r"of another shape: layers\.0\.blocks\.0\.attention\.bias_table"):
        load_weights(Swin(**{**SMALL, "window": 4}, heads=(1, 2, 4)), state)


def test_other_swins_are_refused_by_name():
    from torchvision.models.swin_transformer import SwinTransformer as Torchvisions
    from torchvision.models.swin_transformer import SwinTransformerBlockV2

    second = Torchvisions([4, 4], 8, [1, 1], [1, 2], [7, 7], block=SwinTransformerBlockV2)
    with pytest.raises(ValueError, match=r"unknown: layers\.0\.blocks\.0\.attn\.logit_scale"):
        load_weights(Swin(embed_dim=8, depths=(1, 1), heads=(1, 2)), second.state_dict())
