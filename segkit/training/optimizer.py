"""AdamW or Muon with weight decay and learning rates where they belong, and the rate's way over the run."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from segkit.backbones.backbone import Backbone
from segkit.errors import UsageError
from segkit.nearest import nearest
from segkit.sections import OptimizerName
from segkit.training.muon import MuonAdamW

SCHEDULES = ("cosine", "polynomial", "constant")
POWER = 0.9  # of the polynomial
MATRICES = "matrices"

UNDECAYED_MODULES = (
    nn.Embedding,
    nn.EmbeddingBag,
    nn.GroupNorm,
    nn.LayerNorm,
    nn.RMSNorm,
    nn.modules.batchnorm._NormBase,  # batch and instance normalisation of every dimension, also synchronised
)


def parameter_groups(
    model: nn.Module, weight_decay: float, layer_decay: float = 1.0, *, frozen: bool = False, matrices: bool = False
) -> list[dict[str, Any]]:
    """Groups for an optimiser, "decay" and "no_decay"; every trainable parameter is in exactly one.

    Only what multiplies features decays: parameters called ``…weight`` with two or more dimensions, outside norms and
    embeddings. Biases, norms, scales, tokens and position tables (Swin's ``relative_position_bias_table``) don't, since
    pulling them to zero changes what the network says without making it simpler. Frozen parameters are left out,
    unless ``frozen`` asks for them, because they will learn later.

    With ``matrices``, a third group of this name has the weights of the backbones' linear layers, which decay.

    With a ``layer_decay`` below 1 (Clark et al., ICLR 2020; BEiT's and Swin's fine-tuning), stages of a backbone's
    trunks have groups of their own, "decay.1", "no_decay.1", …: counted from the last stage, number k learns at
    layer_decay^k of the full rate, each group's ``rate``. What is no trunk's stage (head, neck, stem) has the full one.

    Raises:
        UsageError: every parameter is frozen.
    """
    shielded = {
        id(parameter)
        for module in model.modules()
        if isinstance(module, UNDECAYED_MODULES)
        for parameter in module.parameters(recurse=False)
    }
    depths = _depths(model) if layer_decay < 1 else {}
    hidden = _hidden(model) if matrices else set()
    groups: dict[tuple[int, str], list[nn.Parameter]] = {(0, "decay"): [], (0, "no_decay"): []}
    for name, parameter in model.named_parameters():
        if not (parameter.requires_grad or frozen):
            continue
        decays = name.endswith("weight") and parameter.ndim >= 2 and id(parameter) not in shielded
        kind = MATRICES if id(parameter) in hidden else "decay" if decays else "no_decay"
        groups.setdefault((depths.get(id(parameter), 0), kind), []).append(parameter)
    if not any(groups.values()):
        raise UsageError("nothing to train: every parameter of the model is frozen")
    return [
        {
            "name": f"{kind}.{depth}" if depth else kind,
            "params": parameters,
            "weight_decay": 0.0 if kind == "no_decay" else weight_decay,
            "rate": layer_decay**depth,
        }
        for (depth, kind), parameters in sorted(groups.items(), key=lambda group: group[0])
    ]


def create_optimizer(
    model: nn.Module,
    lr: float,
    weight_decay: float,
    betas: tuple[float, float] = (0.9, 0.999),
    layer_decay: float = 1.0,
    frozen: bool = False,
    fused: bool | None = None,
    name: OptimizerName = "adamw",
) -> Optimizer:
    """AdamW (Loshchilov & Hutter, ICLR 2019) over the model's ``parameter_groups``, each at its share of the rate.

    With the name "muon", weights of the backbones' linear layers learn by Muon and all else by AdamW
    (:class:`segkit.training.muon.MuonAdamW`); where a model has no such weights it is AdamW alone.

    ``fused`` makes a step of AdamW one kernel also on a GPU; None does so on processors alone.
    """
    found = parameter_groups(model, weight_decay, layer_decay, frozen=frozen, matrices=name == "muon")
    groups = [{**group, "lr": lr * group["rate"]} for group in found]
    # PyTorch fuses on request only. On processors that saves much: 98 → 13 ms a step for Swin-T on two cores. On GPUs
    # it saves little with large models, and Lightning can't clip a fused optimiser's gradients under fp16 loss scaling.
    on_processor = all(parameter.device.type == "cpu" for group in groups for parameter in group["params"])
    fused = bool(on_processor or fused)
    matrices = [group for group in groups if group["name"].startswith(MATRICES)]
    others = [group for group in groups if not group["name"].startswith(MATRICES)]
    if not matrices:
        return AdamW(others, lr=lr, betas=betas, fused=fused)
    return MuonAdamW(matrices, others, betas=betas, fused=fused)


def counted(model: nn.Module, name: OptimizerName) -> str:
    """How many parameters a model has, how many of them are frozen, and with Muon how many learn by it."""
    every = list(model.parameters())
    hidden = _hidden(model) if name == "muon" else set()
    frozen = sum(parameter.numel() for parameter in every if not parameter.requires_grad)
    of_muon = sum(parameter.numel() for parameter in every if parameter.requires_grad and id(parameter) in hidden)
    notes = [f"{frozen:,} frozen"] if frozen else []
    notes += [f"{of_muon:,} by Muon"] if name == "muon" else []
    return f"{sum(map(torch.numel, every)):,} parameters" + (f" ({', '.join(notes)})" if notes else "")


def schedule(
    optimizer: Optimizer,
    *,
    kind: str,
    steps: int,
    warmup_steps: int,
    place: Callable[[int], float] | None = None,
) -> LRScheduler:
    """Scheduler, advanced once per update, whose first ``warmup_steps`` updates rise linearly to the full rate.

    Update t, counted from 0, has the full rate times (t + 1) / (warmup_steps + 1) while it rises; then
    that times d with x = (t − warmup_steps) / (steps − warmup_steps) going from 0 to 1 and d being (1 + cos πx) / 2 for
    "cosine", (1 − x)^0.9 for "polynomial" and 1 for "constant". After the last update it stays.

    Args:
        optimizer: its groups' rates are the full rates.
        kind: "cosine", "polynomial" or "constant".
        steps: updates in the whole run, at least 1.
        warmup_steps: 0..steps.
        place: t for so many updates done; None: that number. So a schedule may follow something else, as the time.

    Raises:
        UsageError: naming the argument that is out of range.
    """
    if kind not in SCHEDULES:
        raise UsageError(f"no schedule {kind!r}{nearest(kind, SCHEDULES)}")
    if steps < 1:
        raise UsageError(f"steps is {steps}; expected 1 or more")
    if not 0 <= warmup_steps <= steps:
        raise UsageError(f"warmup_steps is {warmup_steps}; expected 0..{steps}, the number of updates")

    def share(done: int) -> float:
        update = done if place is None else place(done)
        if update < warmup_steps:
            return (update + 1) / (warmup_steps + 1)
        x = min(1.0, (update - warmup_steps) / max(1, steps - warmup_steps))
        if kind == "cosine":
            return (1 + math.cos(math.pi * x)) / 2
        return math.pow(1 - x, POWER) if kind == "polynomial" else 1.0

    return LambdaLR(optimizer, share)


def _hidden(model: nn.Module) -> set[int]:
    """The weights of linear layers in backbones; a head's last layer learns better by AdamW."""
    return {
        id(module.weight)
        for backbone in backbones_of(model)
        for module in backbone.modules()
        if isinstance(module, nn.Linear)
    }


def _depths(model: nn.Module) -> dict[int, int]:
    """How far each parameter of a trunk's stages is from the head, in stages: 1 for the last stage's."""
    return {
        id(parameter): depth
        for backbone in backbones_of(model)
        for trunk in backbone.trunks
        for depth, stage in enumerate(reversed(trunk.stages), start=1)
        for parameter in stage.parameters()
    }


def backbones_of(module: nn.Module) -> Iterator[Backbone]:
    """The backbones in a model; not those that one is made of, which it speaks for."""
    if isinstance(module, Backbone):
        yield module
    else:
        for child in module.children():
            yield from backbones_of(child)
