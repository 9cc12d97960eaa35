"""Training on from pretrained weights: what is frozen stays, what is computed twice comes out the same."""

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from segkit import backbones
from segkit.errors import RecipeError
from segkit.training.run import train

SWIN = {"name": "swin", "embed_dim": 8, "depths": [1, 1], "heads": [1, 2], "drop_path": 0.3}
STEPS = {"epochs": 2, "batch": 2, "learning_rate": 0.02, "layer_decay": 0.5}


@pytest.fixture
def tuned(recipe, cells, tmp_path):
    """Train on from a file of weights, and give the run and the tensors in that file."""

    def run(out, options=SWIN, stem=4, **changes):
        torch.manual_seed(7)
        backbone = backbones.create(**options)
        for norm in (module for module in backbone.modules() if isinstance(module, nn.BatchNorm2d)):
            nn.init.uniform_(norm.running_mean)
        weights = tmp_path / f"{options['name']}.safetensors"
        save_file(backbone.state_dict(), weights)
        model = {"backbone": {**options, "weights": str(weights)}, "stem": stem, "neck": {"name": "fpn", "width": 8}}
        given = recipe(ensemble=None, model=model, train={**STEPS, **changes})
        return train(given, cells, out=tmp_path / out, console=False), load_file(weights)

    return run


def test_a_frozen_stage_comes_out_as_it_went_in_and_all_else_has_learned(tuned):
    run, before = tuned("runs", freeze=1, ema=0.9)
    after = run.model.backbone.backbone.state_dict()
    assert {name for name in before if not torch.equal(before[name], after[name])} == {
        name for name in before if name.startswith("layers.1.")
    }
    log = (run.directory / "log.txt").read_text()
    frozen = sum(value.numel() for name, value in before.items() if name.startswith("layers.0."))
    assert f" parameters ({frozen:,} frozen), 8 pictures" in log
    assert f"tiny: weights: {len(before)} tensors loaded as they are\n" in log
    assert "was given no weights" not in log


def test_frozen_statistics_come_out_as_they_went_in(tuned):
    run, before = tuned("runs", {"name": "resnet18", "levels": [0, 1]}, stem=False, freeze=1, epochs=1)
    after = run.model.backbone.state_dict()
    for name, value in before.items():
        assert torch.equal(value, after[name]) == name.startswith("stem."), name


def test_gradient_checkpointing_trains_the_same_model(tuned):
    (plain, _), (again, _) = tuned("a", deterministic=True), tuned("b", deterministic=True, gradient_checkpointing=True)
    for name, tensor in plain.model.state_dict().items():
        assert torch.equal(tensor, again.model.state_dict()[name]), name


def test_freezing_random_weights_is_said_aloud(recipe, cells, tmp_path):
    run = train(recipe(members=("only",), train={"epochs": 1, "freeze": 1}), cells, out=tmp_path, console=False)
    log = (run.directory / "log.txt").read_text()
    assert "only: note: the backbone was given no weights; what is frozen stays as it began\n" in log


def test_of_a_joint_backbone_each_part_is_told_of(recipe, cells, tmp_path):
    stem = {"name": "stem", "width": 4}
    save_file(backbones.create(**stem).state_dict(), tmp_path / "stem.safetensors")
    backbone = {"name": "joint", "of": [{**stem, "weights": str(tmp_path / "stem.safetensors")}, stem]}
    model = {"backbone": backbone, "neck": {"name": "fpn", "width": 8}}
    asked = recipe(ensemble=None, model=model, train={"epochs": 1, "freeze": 1})
    log = (train(asked, cells, out=tmp_path, console=False).directory / "log.txt").read_text()
    assert "tiny: weights of parts.0: " in log
    assert "tiny: note: the backbone 'parts.1' was given no weights; what is frozen stays as it began\n" in log
    assert "'parts.0' was given" not in log


def test_more_stages_than_there_are_are_refused_before_a_folder_is_made(recipe, cells, tmp_path):
    out = tmp_path / "runs"
    with pytest.raises(RecipeError, match=r"only: train\.freeze=9: can't freeze 9 stages; Stem has 2"):
        train(recipe(members=("only",), train={"freeze": 9}), cells, out=out, console=False)
    assert not out.exists()
