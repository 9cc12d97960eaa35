import pytest
import torch
from torch import nn

from segkit import Classifier, Segmenter
from segkit.training.optimizer import counted, create_optimizer, parameter_groups, schedule

RATE, DECAY = 0.01, 0.1


def small():
    return Classifier.create(
        {"name": "swin", "embed_dim": 8, "depths": [1, 1], "heads": [2, 4], "drop_path": 0.0}, classes=3
    )


def linear_weights(backbone):
    named = backbone.named_modules(prefix="backbone")
    return {f"{name}.weight" for name, module in named if isinstance(module, nn.Linear)}


def learn(model, optimizer, steps):
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        image = torch.rand(2, 3, 32, 32, generator=generator)
        optimizer.zero_grad()
        model(image).square().sum().backward()
        optimizer.step()


def orthogonal(matrix):
    """Five quintic Newton-Schulz steps in float64, from the singular values, which they act on one by one."""
    u, s, v = torch.linalg.svd(matrix.double(), full_matrices=False)
    s = s / s.square().sum().sqrt()
    for _ in range(5):
        s = 3.4445 * s - 4.775 * s**3 + 2.0315 * s**5
    return (u * s) @ v


def test_matrices_take_muons_step_and_everything_else_adamws():
    torch.manual_seed(0)
    model = small()
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimizer = create_optimizer(model, lr=RATE, weight_decay=DECAY, name="muon")
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    optimizer.step()
    matrices = linear_weights(model.backbone)
    assert len(matrices) == 9
    for name, parameter in model.named_parameters():
        start, gradient = before[name].double(), parameter.grad.double()
        if name in matrices:
            # of the first step Nesterov's mean is a multiple of the gradient, whose length is lost
            length = RATE * 0.2 * max(start.shape) ** 0.5
            expected = start * (1 - RATE * DECAY) - length * orthogonal(gradient)
            tolerance = 0.03 * length  # Newton-Schulz steps are taken in bfloat16
        else:
            decays = name in ("head.weight", "backbone.layers.0.shrink.project.weight")
            step = gradient / (gradient.abs() + 1e-8)  # AdamW's first is the gradient's sign
            expected, tolerance = start * (1 - RATE * DECAY * decays) - RATE * step, 1e-6
        assert (parameter.detach() - expected).abs().max() <= tolerance, name


def test_the_head_and_tables_are_no_matrices():
    model = small()
    groups = {group["name"]: group for group in parameter_groups(model, DECAY, matrices=True)}
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    found = {names[id(parameter)] for parameter in groups["matrices"]["params"]}
    assert found == linear_weights(model.backbone)
    assert groups["matrices"]["weight_decay"] == DECAY
    assert "head.weight" not in found
    everything = [names[id(parameter)] for group in groups.values() for parameter in group["params"]]
    assert sorted(everything) == sorted(names.values())


def test_what_is_kept_goes_on_to_the_same_weights():
    torch.manual_seed(0)
    whole = small()
    halves = small()
    halves.load_state_dict(whole.state_dict())
    together = create_optimizer(whole, lr=RATE, weight_decay=DECAY, name="muon")
    learn(whole, together, steps=1)
    learn(whole, together, steps=1)
    first = create_optimizer(halves, lr=RATE, weight_decay=DECAY, name="muon")
    learn(halves, first, steps=1)
    second = create_optimizer(halves, lr=99.0, weight_decay=0.0, name="muon")
    second.load_state_dict(first.state_dict())
    learn(halves, second, steps=1)
    for one, other in zip(whole.parameters(), halves.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_schedule_moves_every_rate():
    model = small()
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimizer = create_optimizer(model, lr=RATE, weight_decay=DECAY, layer_decay=0.5, name="muon")
    rates = {group["name"]: group["lr"] for group in optimizer.param_groups}
    assert (rates["matrices.2"], rates["matrices.1"]) == (RATE / 4, RATE / 2)
    progress = schedule(optimizer, kind="cosine", steps=1, warmup_steps=0)
    optimizer.step()
    progress.step()
    learn(model, optimizer, steps=1)
    assert all(torch.equal(before[name], parameter) for name, parameter in model.named_parameters())


def test_a_closures_value_comes_back_and_its_gradients_are_used():
    model = small()
    optimizer = create_optimizer(model, lr=RATE, weight_decay=DECAY, name="muon")
    before = model.head.weight.detach().clone()

    def closure():
        loss = model(torch.rand(1, 3, 32, 32)).square().sum()
        loss.backward()
        return loss

    assert float(optimizer.step(closure).detach()) > 0
    assert not torch.equal(before, model.head.weight)


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_a_model_without_linear_layers_in_its_backbone_is_adamws_alone(name):
    model = Segmenter.create("resnet18", neck="fpn", classes=["background", "cell"])
    assert isinstance(create_optimizer(model, lr=RATE, weight_decay=DECAY, name=name), torch.optim.AdamW)


@pytest.mark.parametrize(
    ("name", "frozen", "expected"),
    [
        ("adamw", False, "{every:,} parameters"),
        ("muon", False, "{every:,} parameters ({muon:,} by Muon)"),
        ("muon", True, "{every:,} parameters ({backbone:,} frozen, 0 by Muon)"),
    ],
)
def test_how_many_learn_by_muon_is_told(name, frozen, expected):
    model = small()
    backbone = sum(map(torch.numel, model.backbone.parameters()))
    muon = sum(module.weight.numel() for module in model.backbone.modules() if isinstance(module, nn.Linear))
    model.backbone.requires_grad_(not frozen)
    every = sum(map(torch.numel, model.parameters()))
    assert counted(model, name) == expected.format(every=every, muon=muon, backbone=backbone)
