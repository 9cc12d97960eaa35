import math

import pytest
import torch
import torchvision
from torch import nn

from segkit import Segmenter
from segkit.errors import UsageError
from segkit.training.optimizer import create_optimizer, parameter_groups, schedule


class EveryKind(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.linear = nn.Linear(4, 4)
        self.attention = nn.MultiheadAttention(4, 2)
        self.batch_norm = nn.BatchNorm2d(4)
        self.layer_norm = nn.LayerNorm([4, 8, 8])
        self.embedding = nn.Embedding(5, 4)
        self.relative_position_bias_table = nn.Parameter(torch.zeros(9, 2))
        self.position = nn.Parameter(torch.zeros(1, 4, 8))
        self.token = nn.Parameter(torch.zeros(1, 1, 4))
        self.scale = nn.Parameter(torch.ones(2, 1, 1))


def names(model, group):
    by_id = {id(parameter): name for name, parameter in model.named_parameters()}
    return {by_id[id(parameter)] for parameter in group["params"]}


def test_only_weights_that_multiply_features_decay():
    model = EveryKind()
    decay, no_decay = parameter_groups(model, 0.05)
    assert names(model, decay) == {
        "conv.weight",
        "linear.weight",
        "attention.in_proj_weight",
        "attention.out_proj.weight",
    }
    assert (decay["name"], decay["weight_decay"]) == ("decay", 0.05)
    assert (no_decay["name"], no_decay["weight_decay"]) == ("no_decay", 0.0)


def test_every_trainable_parameter_is_in_exactly_one_group_and_frozen_ones_in_none():
    with torch.device("meta"):
        model = torchvision.models.swin_t()
    for parameter in model.features[:3].parameters():
        parameter.requires_grad_(False)
    decay, no_decay = (names(model, group) for group in parameter_groups(model, 0.05))
    assert not decay & no_decay
    assert decay | no_decay == {name for name, p in model.named_parameters() if p.requires_grad}
    assert all(name.endswith("weight") for name in decay)
    assert {"features.5.0.attn.relative_position_bias_table", "norm.weight", "head.bias"} <= no_decay


def test_a_shared_parameter_is_optimised_once():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model[1].weight = model[0].weight
    decay, no_decay = parameter_groups(model, 0.05)
    assert (len(decay["params"]), len(no_decay["params"])) == (1, 2)


def test_a_model_frozen_whole_is_refused():
    with pytest.raises(UsageError, match="nothing to train: every parameter of the model is frozen"):
        parameter_groups(nn.Linear(2, 2).requires_grad_(False), 0.05)


def test_with_gradient_0_a_step_shrinks_what_decays_and_nothing_else():
    model = EveryKind()
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer = create_optimizer(model, lr=0.1, weight_decay=0.5, betas=(0.8, 0.99))
    assert optimizer.defaults["betas"] == (0.8, 0.99)
    optimizer.step()
    decays = names(model, optimizer.param_groups[0])
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter, before[name] * (1 - 0.1 * 0.5) if name in decays else before[name])


def test_a_model_without_anything_to_decay_is_optimised_too():
    norm = nn.BatchNorm2d(3)
    optimizer = create_optimizer(norm, lr=0.1, weight_decay=0.5)
    norm(torch.randn(2, 3, 4, 4)).square().sum().backward()
    optimizer.step()
    assert (norm.weight != 1).all()


def rates(kind, *, updates, **options):
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=2.0)
    scheduler = schedule(optimizer, kind=kind, **options)
    result = []
    for _ in range(updates):
        result.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return result


def test_cosine_rises_from_nearly_0_then_falls_to_0_and_stays():
    found = rates("cosine", steps=8, warmup_steps=4, updates=11)
    rise = [2 / 5, 4 / 5, 6 / 5, 8 / 5]
    fall = [1 + math.cos(math.pi * x) for x in (0, 1 / 4, 1 / 2, 3 / 4, 1, 1, 1)]
    assert found == pytest.approx(rise + fall)
    assert found[4] == 2.0


def test_polynomial_falls_by_its_power():
    found = rates("polynomial", steps=4, warmup_steps=0, updates=5)
    assert found == pytest.approx([2 * (1 - x) ** 0.9 for x in (0, 1 / 4, 1 / 2, 3 / 4, 1)])


def test_constant_stays_after_its_rise():
    assert rates("constant", steps=4, warmup_steps=1, updates=4) == [1.0, 2.0, 2.0, 2.0]


def test_a_run_may_be_all_warm_up():
    assert rates("cosine", steps=3, warmup_steps=3, updates=3) == pytest.approx([0.5, 1.0, 1.5])


def test_a_schedule_goes_on_where_its_state_says():
    options = {"kind": "cosine", "steps": 10, "warmup_steps": 2}
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=2.0)
    scheduler = schedule(optimizer, **options)
    for _ in range(5):
        optimizer.step()
        scheduler.step()
    resumed = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=2.0)
    again = schedule(resumed, **options)
    resumed.load_state_dict(optimizer.state_dict())
    again.load_state_dict(scheduler.state_dict())
    for _ in range(5):
        assert again.get_last_lr() == scheduler.get_last_lr()
        for o, s in ((optimizer, scheduler), (resumed, again)):
            o.step()
            s.step()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "cosin"}, "no schedule 'cosin'; did you mean 'cosine'?"),
        ({"steps": 0}, "steps is 0; expected 1 or more"),
        ({"warmup_steps": 11}, r"warmup_steps is 11; expected 0\.\.10, the number of updates"),
    ],
)
def test_a_wrong_schedule_is_told_what_is_wrong(options, message):
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=2.0)
    with pytest.raises(UsageError, match=message):
        schedule(optimizer, **{"kind": "cosine", "steps": 10, "warmup_steps": 0, **options})


# Stages of a backbone


def segmenter(**changes):
    swin = {"name": "swin", "embed_dim": 8, "depths": [1, 1, 1], "heads": [1, 2, 4], "window": 3}
    return Segmenter.create(**{"backbone": swin, "neck": {"name": "fpn", "width": 8}, "classes": 2, **changes})


def test_each_stage_learns_more_slowly_than_the_one_after_it_and_all_else_at_the_full_rate():
    model = segmenter(stem=4)
    optimizer = create_optimizer(model, lr=0.4, weight_decay=0.05, layer_decay=0.5)
    rates = {name: group["lr"] for group in optimizer.param_groups for name in names(model, group)}
    assert rates.keys() == {name for name, _ in model.named_parameters()}
    for name, rate in rates.items():
        stage = [i for i in range(3) if name.startswith(f"backbone.backbone.layers.{i}.")]
        assert rate == 0.4 * 0.5 ** (3 - stage[0] if stage else 0), name
    decays = {group["name"]: group["weight_decay"] for group in optimizer.param_groups}
    assert decays == {
        **dict.fromkeys(("decay", "decay.1", "decay.2", "decay.3"), 0.05),
        **dict.fromkeys(("no_decay", "no_decay.1", "no_decay.2", "no_decay.3"), 0.0),
    }
    assert [group["name"] for group in optimizer.param_groups[:2]] == ["decay", "no_decay"]


def test_the_schedule_moves_all_stages_alike():
    optimizer = create_optimizer(segmenter(), lr=0.4, weight_decay=0.05, layer_decay=0.5)
    scheduler = schedule(optimizer, kind="cosine", steps=2, warmup_steps=0)
    before = scheduler.get_last_lr()
    optimizer.step()
    scheduler.step()
    assert scheduler.get_last_lr() == pytest.approx([rate / 2 for rate in before])


def test_frozen_stages_are_in_no_group_and_the_others_keep_their_depth():
    model = segmenter()
    model.backbone.freeze(2)
    groups = {group["name"]: names(model, group) for group in parameter_groups(model, 0.05, layer_decay=0.5)}
    assert groups.keys() == {"decay", "no_decay", "decay.1", "no_decay.1"}
    assert all(name.startswith("backbone.layers.2.") for name in groups["decay.1"] | groups["no_decay.1"])
    assert not any(name.startswith(("backbone.layers.0.", "backbone.layers.1.")) for g in groups.values() for name in g)


def test_frozen_parameters_are_not_decayed():
    model = segmenter()
    model.backbone.freeze(1)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimizer = create_optimizer(model, lr=0.1, weight_decay=0.5, layer_decay=0.5)
    model(torch.rand(2, 3, 16, 16)).square().sum().backward()
    optimizer.step()
    same = {name for name, parameter in model.named_parameters() if torch.equal(parameter, before[name])}
    assert same >= {name for name in before if name.startswith("backbone.layers.0.")}
    assert "backbone.layers.1.blocks.0.mlp.0.weight" not in same
