"""A joint backbone is its parts side by side."""

from functools import partial

import pytest
import torch

import segkit
from segkit import backbones
from segkit.backbones.weights import fold_stacked
from segkit.errors import ModelError, UsageError

SWIN = {"name": "swin", "embed_dim": 8, "depths": [1, 1], "heads": [1, 2], "window": 4}
RESNET = {"name": "resnet18", "levels": [0, 1, 2]}


def joint(**options):
    torch.manual_seed(0)
    return backbones.create("joint", of=[SWIN, RESNET], **options).eval()


def test_levels_are_those_of_the_parts_stacked():
    both, image = joint(), torch.rand(2, 3, 33, 47)
    assert (both.strides, both.channels) == ((2, 4, 8), (64, 8 + 64, 16 + 128))
    swin, resnet = (part(image) for part in both.parts)
    found = both(image)
    assert torch.equal(found[0], resnet[0])
    for level, one, other in zip(found[1:], swin, resnet[1:], strict=True):
        assert torch.equal(level, torch.cat([one, other], dim=1))
    for level, channels, stride in zip(found, both.channels, both.strides, strict=True):
        assert level.shape == (2, channels, -(-33 // stride), -(-47 // stride))


def test_freezing_goes_by_each_part_s_own_stages():
    both = joint()
    both.freeze(1)
    learning = {name for name, parameter in both.named_parameters() if parameter.requires_grad}
    assert not any(name.startswith(("parts.0.layers.0.", "parts.1.stem.")) for name in learning)
    assert any(name.startswith("parts.0.layers.1.") for name in learning)
    both.freeze("all")
    assert not any(parameter.requires_grad for parameter in both.parameters())


def test_every_parameter_is_in_one_stage():
    both = joint()
    staged = [id(parameter) for stage in both.stages for parameter in stage.parameters()]
    assert sorted(staged) == sorted(id(parameter) for parameter in both.parameters())


def test_each_part_takes_its_own_weights():
    donor = backbones.create(**SWIN)
    both = backbones.create("joint", of=[{**SWIN, "weights": donor.state_dict()}, RESNET])
    assert all(torch.equal(both.parts[0].state_dict()[key], value) for key, value in donor.state_dict().items())


def test_further_channels_of_depth_begin_at_zero_in_each_part():
    donor = backbones.create(**SWIN)
    fold = partial(fold_stacked, depth=2)
    of = [{**SWIN, "weights": donor.state_dict()}, SWIN]
    first = next(backbones.create("joint", of=of, in_channels=5, fold=fold).parts[0].parameters())
    assert torch.equal(first[:, :3], next(donor.parameters()))
    assert not first[:, 3:].any()


def test_a_model_of_it_is_saved_without_its_parts_weights(tmp_path):
    donor = backbones.create(**SWIN)
    backbone = {"name": "joint", "of": [{**SWIN, "weights": donor.state_dict()}, RESNET]}
    model = segkit.Segmenter.create(backbone, neck={"name": "fpn", "width": 8}, classes=2).eval()
    folder = segkit.save(model, tmp_path / "m")
    assert "weights" not in model.architecture["backbone"]["of"][0]
    image = torch.rand(1, 3, 40, 40)
    assert torch.equal(segkit.load(folder)(image), model(image))


def test_code_and_weights_named_inside_it_are_refused_when_it_is_loaded(tmp_path):
    model = segkit.Segmenter.create({"name": "joint", "of": [SWIN, RESNET]}, neck="unet", classes=2)
    folder = segkit.save(model, tmp_path / "m")
    text = (folder / "segkit.json").read_text()
    (folder / "segkit.json").write_text(text.replace('"resnet18"', '"evil.module:Net"'))
    with pytest.raises(ModelError, match=r"has the backbone 'evil\.module:Net', code that is not"):
        segkit.load(folder)
    (folder / "segkit.json").write_text(text.replace('"name": "resnet18"', '"name": "resnet18", "weights": "x.pth"'))
    with pytest.raises(ModelError, match="asks for weights from elsewhere"):
        segkit.load(folder)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"of": ["resnet18"]}, "a joint backbone of 1; expected two or more"),
        ({"of": ["resnet18", "resnet81"]}, "no backbone is called 'resnet81'"),
        ({"of": 5}, "backbone 'joint': of is 5; expected a list"),
        ({"of": ["resnet18", "resnet18"], "levels": [0]}, "backbone 'joint' has no option 'levels'; it takes: of$"),
        ({}, "backbone 'joint' needs the option 'of'$"),
        ({"of": ["stem", "joint"]}, "backbone 'joint' needs the option 'of'$"),
        ({"of": ["stem", {"nam": "x"}]}, r"of a joint backbone: {'nam': 'x'}; expected a name, or {name: …, option: v"),
        (
            {"of": ["stem", {"name": "alexnet", "in_channels": 3}]},
            "alexnet: in_channels is no option; it follows from the rest of the model$",
        ),
        ({"of": "resnet18"}, "backbone 'joint': of is 'resnet18'; expected a list$"),
    ],
)
def test_what_is_no_joint_backbone(options, message):
    with pytest.raises(UsageError, match=message):
        segkit.Segmenter.create({"name": "joint", **options}, classes=2)
