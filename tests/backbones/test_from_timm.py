"""timm's networks as backbones: timm's own values, at any size."""

import huggingface_hub.constants
import pytest
import timm
import torch

from segkit import backbones
from segkit.backbones.swin_layouts import resample_bias


@pytest.mark.parametrize("name", ["convnext_atto", "swin_tiny_patch4_window7_224", "pvt_v2_b0"])
@torch.no_grad()
def test_levels_are_timm_s_given_a_whole_network_s_weights(name):
    torch.manual_seed(0)
    whole = timm.create_model(name).eval()
    backbone = backbones.create(f"timm:{name}", weights=whole.state_dict()).eval()
    image = torch.randn(1, 3, 224, 224)
    theirs = whole.forward_intermediates(image, intermediates_only=True)
    for level, reference in zip(backbone(image), theirs, strict=True):
        torch.testing.assert_close(level, reference)
    assert backbone.stages[0] is not backbone.network


@torch.no_grad()
def test_a_network_of_windows_takes_any_size():
    swin = backbones.create("timm:swin_tiny_patch4_window7_224", levels=(0, 1)).eval()
    assert [tuple(level.shape) for level in swin(torch.randn(1, 3, 33, 47))] == [(1, 96, 9, 12), (1, 192, 5, 6)]


@torch.no_grad()
def test_a_network_of_one_size_is_built_for_another():
    backbone = backbones.create("timm:visformer_tiny", img_size=64).eval()
    assert backbone.trial.fixed
    assert [tuple(level.shape[2:]) for level in backbone(torch.randn(1, 3, 33, 64))] == [(5, 8), (3, 4), (2, 2)]
    with pytest.raises(ValueError, match="'timm:visformer_tiny' takes images up to 64×64, got 65×64"):
        backbone(torch.randn(1, 3, 65, 64))


def test_levels_and_layers_beyond_the_last_one_are_not_kept():
    part = backbones.create("timm:resnet18", levels=(0, 2))
    assert (part.channels, part.strides, len(part.stages)) == ((64, 128), (2, 8), 3)
    assert not any("layer3" in key for key in part.state_dict())


def test_options_reach_timm():
    assert backbones.create("timm:resnet18", output_stride=8).strides == (2, 4, 8)


def test_published_weights_are_timm_s_to_fit(monkeypatch):
    whole = timm.create_model("resnet18")
    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", lambda *_, **__: whole.state_dict())
    grey = backbones.create("timm:resnet18", weights="imagenet", in_channels=1)
    torch.testing.assert_close(grey.network.conv1.weight, whole.conv1.weight.sum(1, keepdim=True))
    assert len(grey.pretrained.loaded) == len(grey.state_dict())


def test_weights_out_of_reach_are_said(monkeypatch, tmp_path):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    message = (
        r"'timm:resnet18' can't be built: the Hugging Face hub is out of reach.*can be given as a file: weights=PATH"
    )
    with pytest.raises(ValueError, match=message):
        backbones.create("timm:resnet18", weights="imagenet")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("convnext_tinny", {}, "timm has no network called 'convnext_tinny'; near it: convnext_tiny,"),
        ("mixer_s32_224", {}, r"'timm:mixer_s32_224' has no pyramid: its maps have strides \[32\]"),
        ("resnet18", {"wdth": 2}, "'timm:resnet18' can't be built: .*unexpected keyword argument 'wdth'"),
        ("resnet18", {"pretrained": True}, "backbone 'timm:resnet18' has no option 'pretrained'"),
        ("resnet18", {"checkpoint_path": "x.pth"}, "'timm:resnet18' has no option 'checkpoint_path'"),
        ("visformer_tiny", {"img_size": "96"}, "'timm:visformer_tiny': img_size is '96'; expected a whole number, or"),
        ("resnet18", {"levels": (0, 7)}, r"levels is \[0, 7\]; expected rising indices among 0..4"),
    ],
)
def test_what_cannot_be_built_is_said(name, options, message):
    with pytest.raises(ValueError, match=message):
        backbones.create(f"timm:{name}", **options)


def test_a_deeper_networks_weights_and_foreign_names_are_refused():
    with pytest.raises(ValueError, match=r"the weights don't fit 'timm:resnet18'; unknown: layer1\.2\.conv1\.weight"):
        backbones.create("timm:resnet18", weights=timm.create_model("resnet34").state_dict())
    state = timm.create_model("resnet18").state_dict()
    with pytest.raises(ValueError, match="unknown: extra"):
        backbones.create("timm:resnet18", weights={**state, "extra": torch.zeros(1)})
    part = backbones.create("timm:resnet18", weights=state, levels=(0, 1))
    assert {name.partition(".")[0] for name in part.pretrained.unused} == {"layer2", "layer3", "layer4", "fc"}


def test_other_channels_fold_wherever_the_image_enters():
    state = timm.create_model("repvgg_a0").state_dict()
    grey = backbones.create("timm:repvgg_a0", weights=state, in_channels=1).eval()
    assert len(grey.pretrained.folded) == 2
    colour = backbones.create("timm:repvgg_a0", weights=state).eval()
    image = torch.randn(1, 1, 64, 64)
    with torch.no_grad():
        for found, expected in zip(grey(image), colour(image.expand(-1, 3, -1, -1)), strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_a_swin_of_timm_s_takes_weights_of_another_window():
    name = "swin_tiny_patch4_window7_224"
    state = timm.create_model(name).state_dict()
    wider = backbones.create(f"timm:{name}", weights=state, window_size=12, levels=(0,))
    key = "network.layers_0.blocks.0.attn.relative_position_bias_table"
    assert wider.pretrained.interpolated == (key, key.replace("blocks.0", "blocks.1"))
    expected = resample_bias(state["layers.0.blocks.0.attn.relative_position_bias_table"], 23**2)
    assert torch.equal(wider.state_dict()[key], expected)


def test_a_network_whose_maps_fit_at_some_sizes_alone_is_watched_there():
    assert backbones.create("timm:mobilevitv2_050").strides == (2, 4, 8, 16, 32)
