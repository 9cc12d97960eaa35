"""A gate: at every pixel each member counts by how far it is to be trusted there."""

from typing import Any

import torch
from torch import Tensor, nn

from segkit.combining.combination import Combination, Said
from segkit.errors import UsageError
from segkit.statistics import entropy, logits_of
from segkit.task import Task

LIMIT = 4.0  # scores lie within ±LIMIT, so that their exponentials can be summed up as they come


class Gate(Combination):
    """Weights of members by pixel, the softmax over the members of scores (Jacobs et al., Neural Computation, 1991).

    A member's score is seen from its own logits and entropy and the image alone, by two 3×3 convolutions of its own; so
    no member waits for another, and sums run on. An untrained gate is the equal mean: its last layers start at 0.

    Args:
        members, maps, task: see :class:`Combination`.
        channels: of the image.
        width: channels between the two convolutions.
    """

    name = "gate"

    def __init__(self, members: int, maps: int, task: Task, *, channels: int, width: int = 8) -> None:
        super().__init__(members, maps, task)
        if channels < 1 or width < 1:
            raise UsageError(f"a gate with channels={channels} and width={width}; expected 1 or more of both")
        self.channels, self.width = channels, width
        self.scores = nn.ModuleList(_score(maps + 1 + channels, width) for _ in range(members))

    def weight(self, said: Said) -> Tensor:
        """The exponential of the member's score, [B, 1, H, W]."""
        logits = logits_of(said.probabilities, self.task) / 4  # to about the image's range
        seen = torch.cat([logits, entropy(said.probabilities, self.task)[:, None], said.image], dim=1)
        score: Tensor = self.scores[said.member](seen).float()
        return (LIMIT * (score / LIMIT).tanh()).exp()

    def options(self) -> dict[str, Any]:
        """Its shape."""
        return {"channels": self.channels, "width": self.width}


def _score(seen: int, width: int) -> nn.Sequential:
    last = nn.Conv2d(width, 1, 3, padding=1)
    nn.init.zeros_(last.weight)
    assert last.bias is not None
    nn.init.zeros_(last.bias)
    return nn.Sequential(nn.Conv2d(seen, width, 3, padding=1), nn.ReLU(), last)
