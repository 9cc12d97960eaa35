"""segmentation-models-pytorch's encoders as backbones: the library's own values, at any size."""

import huggingface_hub.constants
import pytest
import segmentation_models_pytorch as smp
import torch
import torchvision

from segkit import backbones


@pytest.mark.parametrize("name", ["resnet18", "mit_b0"])
@torch.no_grad()
def test_levels_are_the_encoder_s_given_a_whole_model_s_weights(name):
    torch.manual_seed(0)
    whole = smp.Unet(name, encoder_weights=None).eval()
    backbone = backbones.create(f"smp:{name}", weights=whole.state_dict()).eval()
    image = torch.randn(1, 3, 64, 96)
    theirs = [level for level in whole.encoder(image)[1:] if level.shape[1]]  # the image, and an empty map
    assert all(torch.equal(a, b) for a, b in zip(backbone(image), theirs, strict=True))


def test_the_empty_map_before_a_transformer_s_levels_is_left_out():
    assert backbones.create("smp:mit_b0").strides == (4, 8, 16, 32)


def test_layers_beyond_the_last_level_are_not_kept():
    part = backbones.create("smp:resnet18", levels=(0, 1))
    assert (part.strides, len(part.stages)) == ((2, 4), 2)
    assert not any("layer2" in key for key in part.state_dict())


def test_what_no_level_needs_is_not_kept():
    assert not any("_conv_head" in key for key in backbones.create("smp:efficientnet-b0").state_dict())


def test_weights_out_of_reach_are_said(monkeypatch, tmp_path):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ValueError, match=r"'smp:resnet18' can't be built: .*can be given as a file: weights=PATH"):
        backbones.create("smp:resnet18", weights="imagenet")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("mit_b9", {}, "segmentation-models-pytorch has no encoder 'mit_b9'; near it: mit_b5, mit_b4, mit_b3"),
        ("tu-resnet18", {}, "'smp:tu-resnet18' is a network of timm's: write 'timm:resnet18'"),
        ("resnet18", {"depth": 3}, "backbone 'smp:resnet18' has no option 'depth'; it takes: none"),
    ],
)
def test_what_cannot_be_built_is_said(name, options, message):
    with pytest.raises(ValueError, match=message):
        backbones.create(f"smp:{name}", **options)


def test_a_whole_models_weights_fit_and_a_deeper_encoders_do_not():
    whole = smp.Unet("resnet18", encoder_weights=None)
    ours = backbones.create("smp:resnet18", weights=whole.state_dict())
    assert all(torch.equal(ours.network.state_dict()[key], value) for key, value in whole.encoder.state_dict().items())
    deeper = smp.Unet("resnet34", encoder_weights=None).state_dict()
    with pytest.raises(ValueError, match=r"don't fit 'smp:resnet18'; unknown: network\.layer1\.2\.conv1\.weight"):
        backbones.create("smp:resnet18", weights=deeper)
    published = torchvision.models.resnet18().state_dict()
    assert backbones.create("smp:resnet18", weights=published, levels=(0, 1)).pretrained.unused[-1] == "fc.bias"
