"""A backbone of one's own, by the place of its class."""

import pytest
import torch

from segkit import backbones

MODULE = """
from torch import nn

from segkit.backbones.backbone import Backbone, ImageBackbone, select_levels


class Half(ImageBackbone):
    def __init__(self, *, in_channels=3, levels=None, width=4):
        super().__init__(in_channels)
        self.levels = select_levels(levels, 1)
        self.layer = nn.Conv2d(in_channels, width, 3, 2, 1)
        self.channels, self.strides = (width,), (2,)

    @property
    def stages(self):
        return [self.layer]

    def pyramid(self, image):
        return [self.layer(image)]


class Silent(Half):
    def __init__(self, *, in_channels=3):
        super().__init__(in_channels=in_channels)
        del self.channels


class Unfinished(Backbone):
    pass


class Floored(Half):
    def pyramid(self, image):
        return [level[..., :-1, :-1] for level in super().pyramid(image)]


class Wide(Half):
    def __init__(self, **options):
        super().__init__(**options)
        self.channels = (8,)
        self.eval()


class Lacking(Half):
    def pyramid(self, image):
        return []


class Deaf(Half):
    def __init__(self, *, width=4):
        super().__init__(width=width)


def half():
    return Half()
"""


@pytest.fixture(autouse=True)
def nets(tmp_path, monkeypatch):
    (tmp_path / "own_nets.py").write_text(MODULE)
    (tmp_path / "own_broken.py").write_text("1 / 0")
    monkeypatch.syspath_prepend(tmp_path)


def test_channels_levels_and_options_reach_the_class():
    half = backbones.create("own_nets:Half", in_channels=1, levels=(0,), width=6)
    assert (half.channels, half.strides) == ((6,), (2,))
    assert half(torch.zeros(1, 1, 5, 7))[0].shape == (1, 6, 3, 4)


def test_weights_reach_it_too():
    weights = backbones.create("own_nets:Half").state_dict()
    restored = backbones.create("own_nets:Half", weights=weights)
    assert torch.equal(restored.layer.weight, weights["layer.weight"])


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("own_nets:", "backbone 'own_nets:': expected 'package.module:Class'"),
        ("own_netz:Half", "backbone 'own_netz:Half': no module 'own_netz' here; install its package"),
        ("own_broken:Half", r"'own_broken' can't be imported \(ZeroDivisionError: division by zero\)"),
        ("own_nets:Halve", "'own_nets' has no class 'Halve'; did you mean 'Half'"),
        ("own_nets:half", "backbone 'own_nets:half': expected a subclass of segkit.backbones.backbone.Backbone"),
        ("own_nets:Unfinished", "the class is unfinished, it has no forward, stages"),
        ("own_nets:Silent", "says nothing of its levels; set self.channels and self.strides"),
    ],
)
def test_a_place_without_a_backbone_is_said(place, message):
    with pytest.raises(ValueError, match=message):
        backbones.create(place)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "Floored",
            r"makes \[\[1, 4, 32, 48\]\] of an empty image of 65×97; expected \[\[1, 4, 33, 49\]\]: level i has",
        ),
        ("Wide", r"makes \[\[1, 4, 33, 49\]\] of an empty image of 65×97; expected \[\[1, 8, 33, 49\]\]: level i has"),
        ("Lacking", r"makes \[\] of an empty image of 65×97; expected \[\[1, 4, 33, 49\]\]: level i has"),
        ("Deaf", "takes no in_channels; every backbone's constructor is given it"),
    ],
)
def test_what_it_makes_of_an_image_is_what_it_says(name, message):
    with pytest.raises(ValueError, match=f"^backbone 'own_nets:{name}' {message}"):
        backbones.create(f"own_nets:{name}")


def test_being_looked_at_changes_nothing():
    half = backbones.create("own_nets:Half")
    assert half.training
    assert half.layer.weight.grad is None


def test_an_unknown_option_gets_the_accepted_ones():
    with pytest.raises(ValueError, match="backbone 'own_nets:Half' has no option 'wdth'; it takes: width"):
        backbones.create("own_nets:Half", wdth=8)
    with pytest.raises(ValueError, match="backbone 'own_nets:Silent' has no option 'levels'; it takes: none"):
        backbones.create("own_nets:Silent", levels=(0,))
