"""A joint head trained on features that are computed once and kept: the frozen networks aren't run again."""

import copy
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from segkit.classification.feature_head import FeatureHead
from segkit.errors import UsageError

EPOCHS, BATCH = 60, 128
LEARNING_RATE, WEIGHT_DECAY = 1e-3, 0.05
FLOOR = 0.02  # of the learning rate, at the end


class Features(NamedTuple):
    """What the frozen modules make of some items.

    Attributes:
        views: of each module, float32 [V, N, D]: V views of each item, differently augmented, or 1; view v of all
            modules is of the same augmented item.
        target: ids int64 [N].
    """

    views: Sequence[Tensor]
    target: Tensor


class Trained(NamedTuple):
    """How a head's training went.

    Attributes:
        epoch: after which the weights were taken, from 1.
        losses: log loss on the validation features after each epoch; empty without them.
    """

    epoch: int
    losses: list[float]


def train_head(
    head: FeatureHead,
    train: Features,
    validation: Features | None = None,
    *,
    epochs: int = EPOCHS,
    batch: int = BATCH,
    learning_rate: float = LEARNING_RATE,
    weight_decay: float = WEIGHT_DECAY,
    seed: int = 0,
) -> Trained:
    """Train a joint head in place, and leave it in eval mode: AdamW, the rate falling along a cosine.

    Each epoch shows every item once, by one of its views, drawn anew.

    Args:
        head: ``top`` of a ``JointHead``, or one by itself; what features are normalised by is measured on ``train``.
        train: the features that are learnt from.
        validation: the weights after the epoch with the smallest log loss on these are kept; without them the last.
        epochs, batch, learning_rate, weight_decay: of the training; biases don't decay.
        seed: of the order, the views and the dropout.

    Raises:
        UsageError: features that don't fit the head or each other, or settings out of range.
    """
    for features in (train, validation) if validation is not None else (train,):
        _check(head, features)
    if epochs < 1 or batch < 1 or learning_rate <= 0 or weight_decay < 0:
        raise UsageError(
            f"epochs={epochs}, batch={batch}, learning_rate={learning_rate:g}, weight_decay={weight_decay:g}: expected "
            "epochs and batch of 1 or more, a positive rate, a decay of 0 or more"
        )
    head.measure([views.flatten(0, 1) for views in train.views])

    count, items, device = len(train.views[0]), len(train.target), train.target.device
    learnt = dict(head.read.named_parameters())
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for p in learnt.values() if p.ndim > 1], "weight_decay": weight_decay},
            {"params": [p for p in learnt.values() if p.ndim == 1], "weight_decay": 0.0},
        ],
        lr=learning_rate,
    )
    steps = epochs * -(-items // batch)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps, eta_min=FLOOR * learning_rate)
    generator = torch.Generator().manual_seed(seed)
    best, kept, losses = epochs, head.read.state_dict(), list[float]()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)  # dropout draws from the device's own
        for epoch in range(1, epochs + 1):
            head.train()
            order = torch.randperm(items, generator=generator).to(device)
            for start in range(0, items, batch):
                chosen = order[start : start + batch]
                view = torch.randint(count, (len(chosen),), generator=generator).to(device)
                drawn = [views[view, chosen] for views in train.views]
                optimizer.zero_grad()
                F.cross_entropy(head(drawn), train.target[chosen]).backward()  # type: ignore[no-untyped-call]  # PyTorch's
                optimizer.step()
                schedule.step()
            head.eval()
            if validation is not None:
                losses.append(log_loss(head, validation))
                if losses[-1] == min(losses):
                    best, kept = epoch, copy.deepcopy(head.read.state_dict())
    head.read.load_state_dict(kept)
    return Trained(best, losses)


@torch.no_grad()
def log_loss(head: FeatureHead, features: Features) -> float:
    """Mean of -ln p of the true class over the items, by their first views."""
    return float(F.cross_entropy(head([views[0] for views in features.views]), features.target))


def _check(head: FeatureHead, features: Features) -> None:
    views, target = features
    shapes = [list(each.shape) for each in views]
    fits = len(views) == len(head.widths) and all(
        each.ndim == 3 and 0 < len(each) == len(views[0]) and each.shape[1:] == (len(target), width)
        for each, width in zip(views, head.widths, strict=True)
    )
    if not fits or not len(target):
        raise UsageError(f"features {shapes} of {len(target)} items; expected [V, N, D] with D of {list(head.widths)}")
    if bool((target < 0).any()) or bool((target >= head.classes).any()):
        raise UsageError(f"targets from {int(target.min())} to {int(target.max())}; expected ids of {head.classes}")
