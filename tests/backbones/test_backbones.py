"""Backbones by name."""

import subprocess
import sys

import pytest
import torch

from segkit import backbones
from segkit.backbones.backbone import Backbone


@pytest.mark.parametrize("name", backbones.names())
def test_every_name_makes_a_backbone_that_tells_the_truth(name):
    with torch.device("meta"):
        backbone = backbones.create(name, in_channels=4).eval()
        levels = backbone(torch.empty(1, 4, 33, 47))
    assert isinstance(backbone, Backbone)
    assert backbone.modalities == ("image",)
    sizes = [(1, c, -(-33 // s), -(-47 // s)) for c, s in zip(backbone.channels, backbone.strides, strict=True)]
    assert [tuple(level.shape) for level in levels] == sizes


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
