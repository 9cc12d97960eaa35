"""Averaged weights: they follow the trained ones slowly, and are usually the better model."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from segkit.errors import ModelError

STATISTICS = ("running_mean", "running_var")


class WeightAverage:
    """Exponential moving average of a model's parameters and of its batch-normalisation statistics.

    After its update number t, counted from 0, the average is d·average + (1 − d)·weights with
    d = min(decay, (1 + t) / (10 + t)), so that the random start is soon forgotten.

    The running means and variances are averaged, not copied: a layer's mean output is linear in its weights, so the
    averaged mean fits the averaged weights to first order, while the newest one is off by as far as the weights have
    moved. Other buffers are the model's own and are left alone.

    Args:
        model: where the average starts. The same model, or one of the same names and shapes, is given to the methods.
        decay: 0..1, how much of the average stays at each update.
    """

    def __init__(self, model: nn.Module, decay: float = 0.999) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"decay is {decay}; expected 0 or more and less than 1")
        self.decay = decay
        self.updates = 0
        self._averages = {name: tensor.detach().clone() for name, tensor in _averaged(model).items()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Move the average towards the model's present weights."""
        averages, present = self._paired(model)
        keep = min(self.decay, (1 + self.updates) / (10 + self.updates))
        torch._foreach_lerp_(averages, present, 1 - keep)  # one kernel for all tensors; PyTorch's own averaging uses it
        self.updates += 1

    @torch.no_grad()
    def take_statistics(self, model: nn.Module) -> None:
        """Copy the model's present running means and variances, which were measured, not learnt."""
        averages, present = self._paired(model)
        for name, average, tensor in zip(self._averages, averages, present, strict=True):
            if name.endswith(STATISTICS):
                average.copy_(tensor)

    @contextmanager
    def applied_to(self, model: nn.Module) -> Iterator[nn.Module]:
        """Within the context the model has the averaged weights; after it, its own again, bit by bit."""
        averages, present = self._paired(model)
        own = [tensor.detach().clone() for tensor in present]
        _copy(averages, present)
        try:
            yield model
        finally:
            _copy(own, present)

    def state_dict(self) -> dict[str, Any]:
        """``decay``, ``updates`` and the averaged tensors by name, for a checkpoint."""
        averages = {name: average.to("cpu", copy=True) for name, average in self._averages.items()}
        return {"decay": self.decay, "updates": self.updates, "averages": averages}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what ``state_dict`` returned; ModelError if it is of another model."""
        found: Mapping[str, Tensor] = state["averages"]
        _check_names(self._averages, found, "the saved average")
        for name, average in self._averages.items():
            if found[name].shape != average.shape:
                raise ModelError(
                    f"{name}: saved average is {tuple(found[name].shape)}, expected {tuple(average.shape)}"
                )
        self.decay, self.updates = float(state["decay"]), int(state["updates"])
        self._averages = {name: found[name].detach().to(average, copy=True) for name, average in self._averages.items()}

    def _paired(self, model: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
        """Averages and the model's tensors in one order, after following the model to its device."""
        present = _averaged(model)
        _check_names(self._averages, present, "the model")
        self._averages = {name: self._averages[name].to(tensor.device) for name, tensor in present.items()}
        return list(self._averages.values()), list(present.values())


def _averaged(model: nn.Module) -> dict[str, Tensor]:
    """The model's floating-point parameters and running statistics by name."""
    statistics = ((name, buffer) for name, buffer in model.named_buffers() if name.endswith(STATISTICS))
    return {name: t for name, t in (*model.named_parameters(), *statistics) if t.is_floating_point()}


def _check_names(expected: Mapping[str, Tensor], found: Mapping[str, Tensor], what: str) -> None:
    differing = sorted(expected.keys() ^ found.keys())
    if differing:
        side = "lacks" if differing[0] in expected else "has an unexpected"
        raise ModelError(f"{what} {side} {differing[0]!r}; it belongs to another architecture than the average")


@torch.no_grad()
def _copy(sources: list[Tensor], targets: list[Tensor]) -> None:
    for source, target in zip(sources, targets, strict=True):
        target.copy_(source)
