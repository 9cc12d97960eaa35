"""Stacking: a small network that reads the members' logits."""

from typing import Any

import torch
from torch import Tensor, nn

from segkit.combining.combination import Combination, Said
from segkit.errors import UsageError
from segkit.statistics import logits_of, probabilities_of
from segkit.task import Task


class Stack(Combination):
    """Logits of the whole from logits of frozen members (Wolpert, Neural Networks, 1992).

    They are the members' mean plus what two 3×3 convolutions with a ReLU between make of all members' logits. The first
    convolution is a sum over the members, and so is taken one after the other. An untrained stack is the mean of
    logits: its last layer starts at 0.

    Args:
        members, maps, task: see :class:`Combination`.
        width: channels between the two convolutions.
    """

    name = "stack"

    def __init__(self, members: int, maps: int, task: Task, *, width: int = 8) -> None:
        super().__init__(members, maps, task)
        if width < 1:
            raise UsageError(f"a stack with width={width}; expected 1 or more")
        self.width = width
        self.read = nn.ModuleList(nn.Conv2d(maps, width, 3, padding=1, bias=False) for _ in range(members))
        self.bias = nn.Parameter(torch.zeros(width, 1, 1))  # of no member, so that one may be left out
        self.say = nn.Conv2d(width, maps, 3, padding=1)
        nn.init.zeros_(self.say.weight)
        assert self.say.bias is not None
        nn.init.zeros_(self.say.bias)

    def weight(self, said: Said) -> Tensor:
        """The same of every member, [1, 1, 1, 1]."""
        return said.probabilities.new_ones(1, 1, 1, 1)

    def summand(self, said: Said, weight: Tensor) -> Tensor:
        """The member's share of the mean and of the hidden maps, [B, maps + width, H, W]."""
        logits = logits_of(said.probabilities, self.task)
        return torch.cat([weight * logits, self.read[said.member](logits / 4).float()], dim=1)

    def combined(self, total: Tensor, weights: Tensor) -> Tensor:
        """Sigmoid or softmax of the mean logits and what the network adds."""
        logits, hidden = total[:, : self.maps], total[:, self.maps :]
        return probabilities_of(logits / weights + self.say((hidden + self.bias).relu()).float(), self.task)

    def options(self) -> dict[str, Any]:
        """Its shape."""
        return {"width": self.width}
