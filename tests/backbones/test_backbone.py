"""What every backbone can do beside answering: its first stages stand still."""

import copy

import pytest
import torch

from segkit import backbones
from segkit.backbones.joint import Joint
from segkit.backbones.stem import Stemmed
from segkit.backbones.swin import Swin


def resnet():
    torch.manual_seed(0)
    return backbones.create("resnet18", levels=(0, 1, 2))


def small_swin():
    return Swin(embed_dim=8, depths=(2, 2), heads=(1, 2), window=3, drop_path=0.5)


def learning(stage):
    return {parameter.requires_grad for parameter in stage.parameters()}


def test_the_first_stages_stand_still_and_the_others_learn():
    backbone = resnet()
    backbone.freeze(2)
    assert [learning(stage) for stage in backbone.stages] == [{False}, {False}, {True}]
    sum(level.square().sum() for level in backbone(torch.randn(2, 3, 16, 16))).backward()
    assert all((p.grad is None) == (not p.requires_grad) for p in backbone.parameters())


def test_frozen_statistics_stay_whatever_train_says():
    backbone = resnet()
    backbone.freeze(2)
    before = copy.deepcopy(backbone.state_dict())
    for module in (backbone, torch.nn.Sequential(backbone)):
        module.train()
        assert [stage.training for stage in backbone.stages] == [False, False, True]
        assert not any(m.training for stage in backbone.stages[:2] for m in stage.modules())
    backbone(torch.randn(2, 3, 16, 16))
    changed = {name for name, value in backbone.state_dict().items() if not torch.equal(value, before[name])}
    assert changed
    assert all(name.startswith("layers.1.") for name in changed)


def test_a_frozen_stage_drops_no_paths():
    swin, image = small_swin(), torch.randn(4, 3, 16, 16)
    swin.freeze("all")
    assert all(torch.equal(a, b) for a, b in zip(swin.train()(image), swin.eval()(image), strict=True))


def test_all_means_every_stage_and_none_lets_them_learn_again():
    backbone = resnet().eval()
    backbone.freeze("all")
    assert learning(backbone) == {False}
    backbone.freeze(0)
    assert learning(backbone) == {True}
    assert not backbone.training
    backbone.train()
    assert all(module.training for module in backbone.modules())


def test_a_stem_is_new_so_that_freezing_counts_the_backbones_own_stages():
    stemmed = Stemmed(small_swin(), width=4)
    assert stemmed.trunks == [stemmed.backbone]
    stemmed.freeze(1)
    stemmed.train()
    assert learning(stemmed.stem) == {True}
    assert [learning(stage) for stage in stemmed.backbone.stages] == [{False}, {True}]
    assert [stage.training for stage in stemmed.stages] == [True, True, False, True]


def test_a_network_of_another_library_freezes_by_its_levels():
    backbone = backbones.create("timm:resnet18")
    backbone.freeze(2)
    backbone.train()
    assert [learning(stage) for stage in backbone.stages] == [{False}] * 2 + [{True}] * (len(backbone.stages) - 2)
    assert not any(part.training for part in backbone.stages[0].children())


def test_a_copy_is_frozen_too():
    backbone = resnet()
    backbone.freeze(1)
    twin = copy.deepcopy(backbone).train()
    assert [stage.training for stage in twin.stages] == [False, True, True]


def test_more_stages_than_there_are_is_an_error():
    with pytest.raises(ValueError, match="can't freeze 3 stages; Swin has 2"):
        small_swin().freeze(3)


def test_a_refused_freeze_changes_nothing():
    both = Joint([resnet(), small_swin()])
    both.parts[0].freeze(1)
    before = [parameter.requires_grad for parameter in both.parameters()]
    with pytest.raises(ValueError, match="can't freeze 3 stages; Swin has 2"):
        both.freeze(3)
    assert [parameter.requires_grad for parameter in both.parameters()] == before
    assert both.parts[0].frozen == 1
