"""Backbones by name, all of them through one grid: sizes, channels, gradients, copies, and the ways to run them."""

import copy
import subprocess
import sys

import pytest
import torch

from segkit import backbones
from segkit.backbones import linear
from segkit.backbones.backbone import Backbone
from segkit.backbones.drop_path import DropPath

SMALL = {"swin": {"embed_dim": 8, "depths": (1, 1, 1, 1), "heads": (1, 1, 2, 2)}}
FAMILIES = (
    *("swin", "resnet18", "stem", "alexnet", "densenet121", "inception_v3", "squeezenet1_1", "vgg19_bn", "resdeconv"),
    *("timm:convnext_atto", "smp:mit_b0"),
)
NAMES = tuple(dict.fromkeys((*FAMILIES, *backbones.names())))
SIZES, CHANNELS = ((33, 47), (97, 130)), (1, 3, 4)


def build(name, **options):
    return backbones.create(name, **SMALL.get(name, {}), **options)


def light(name):
    """Where networks cost nothing to build; those of segmentation-models-pytorch can't be built there."""
    return torch.device("cpu" if name.startswith("smp:") else "meta")


def cases():
    """Every name, size and number of channels; without ``slow``, one of each family, and what differs in it."""
    for name in NAMES:
        for size in (*SIZES, (224, 224)):
            for channels in CHANNELS:
                quick = name in FAMILIES and (size, channels) in (((33, 47), 4), ((97, 130), 1))
                yield pytest.param(name, size, channels, marks=[] if quick else pytest.mark.slow)


def truth(backbone, batch, size):
    """The levels' shapes as the backbone tells them."""
    return [
        (batch, channels, -(-size[0] // stride), -(-size[1] // stride))
        for channels, stride in zip(backbone.channels, backbone.strides, strict=True)
    ]


def shapes(levels):
    return [tuple(level.shape) for level in levels]


def assert_equal(levels, reference):
    assert all(torch.equal(a, b) for a, b in zip(levels, reference, strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_every_name_makes_a_backbone_that_tells_the_truth(name):
    for channels in CHANNELS:
        with light(name):
            backbone = backbones.create(name, in_channels=channels).eval()
            assert isinstance(backbone, Backbone)
            assert backbone.modalities == ("image",)
            for size in SIZES:
                assert shapes(backbone(torch.zeros(1, channels, *size))) == truth(backbone, 1, size)


@pytest.mark.parametrize("name", NAMES)
def test_stages_hold_every_parameter_once(name):
    with light(name):
        backbone = backbones.create(name)
    held = [id(p) for stage in backbone.stages for p in stage.parameters()]
    assert sorted(held) == sorted(id(p) for p in backbone.parameters())


@pytest.mark.parametrize(("name", "size", "channels"), list(cases()))
def test_grid(name, size, channels):
    torch.manual_seed(0)
    backbone, image = build(name, in_channels=channels).eval(), torch.randn(2, channels, *size)
    with torch.no_grad():
        levels = backbone(image)
        assert shapes(levels) == truth(backbone, 2, size)

        with torch.autocast("cpu", torch.bfloat16):
            rounded = backbone(image)
        for level, reference in zip(rounded, levels, strict=True):
            assert (level.float() - reference).norm() < 0.1 * reference.norm()

        twin = copy.deepcopy(backbone)
        assert_equal(twin(image), levels)
        state = backbone.state_dict()
        for tensor in twin.state_dict().values():
            tensor.fill_(1)
        twin.load_state_dict(state)
        assert_equal(twin(image), levels)

    backbone.train()
    for part in backbone.modules():
        if type(part).__name__ == DropPath.__name__:  # ours and other libraries': a dropped branch has no gradient
            part.eval()
    sum((level**3).mean() for level in backbone(image)).backward()
    assert [key for key, p in backbone.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


@pytest.mark.parametrize("levels", [(0, 1), pytest.param(None, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", FAMILIES)
@torch.no_grad()
def test_compiles_as_one_graph_and_exports(name, levels, monkeypatch):
    torch.compiler.reset()
    monkeypatch.setattr(linear, "has_onednn", lambda _device: False)  # a graph has PyTorch's products, to the last bit
    backbone, image = build(name, levels=levels).eval(), torch.randn(1, 3, 33, 47)
    reference = backbone(image)
    assert_equal(torch.compile(backbone, fullgraph=True, backend="eager")(image), reference)
    for level, expected in zip(torch.export.export(backbone, (image,)).module()(image), reference, strict=True):
        torch.testing.assert_close(level, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", FAMILIES)
@torch.no_grad()
def test_selected_levels_are_the_same_maps(name):
    whole = build(name).eval()
    chosen = (0, 1) if len(whole.strides) == 2 else (0, 2)
    part = build(name, levels=chosen, weights=whole.state_dict()).eval()
    image = torch.randn(1, 3, 33, 47)
    expected = whole(image)
    assert part.strides == tuple(whole.strides[i] for i in chosen)
    assert_equal(part(image), [expected[i] for i in chosen])


def test_importing_the_package_does_not_import_torch():
    code = "import sys, segkit.backbones, segkit.necks, segkit.heads; print('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"


def test_options_reach_the_class_over_the_preset():
    with torch.device("meta"):
        assert backbones.create("swin_tiny", patch_size=2).strides == (2, 4, 8, 16)


def test_an_unknown_name_gets_the_nearest():
    with pytest.raises(ValueError, match="no backbone is called 'swin_tinny'; did you mean 'swin_tiny'"):
        backbones.create("swin_tinny")


def test_a_network_of_timm_s_is_called_so():
    with pytest.raises(
        ValueError, match="no backbone is called 'convnext_tiny' here, but timm has it: write 'timm:con"
    ):
        backbones.create("convnext_tiny")


def test_an_unknown_option_gets_the_accepted_ones():
    with pytest.raises(ValueError, match="backbone 'swin_tiny' has no option 'windw'; it takes: patch_size, window"):
        backbones.create("swin_tiny", windw=8)
    with pytest.raises(ValueError, match="backbone 'resnet18' has no option 'width'; it takes: none"):
        backbones.create("resnet18", width=8)


def test_a_depth_map_is_refused():
    with pytest.raises(ValueError, match="Stem takes an image alone; got a depth map too"):
        backbones.create("stem")(torch.zeros(1, 3, 4, 4), torch.zeros(1, 2, 4, 4))


def test_other_channels_are_refused():
    with pytest.raises(ValueError, match=r"Stem expects images \[B, 3, H, W\], got \[1, 1, 4, 4\]"):
        backbones.create("stem")(torch.zeros(1, 1, 4, 4))


def test_other_libraries_are_imported_only_where_their_names_are_used():
    code = (
        "import sys, torch; from segkit import backbones; torch.set_default_device('meta');"
        "[backbones.create(name) for name in ('resnet18', 'alexnet', 'resdeconv')];"
        "print([name for name in ('timm', 'segmentation_models_pytorch') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
