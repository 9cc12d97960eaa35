"""What every way of combining members has in common, and the plainest: the weighted mean of probabilities."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from segkit.errors import UsageError
from segkit.task import Task


class Said(NamedTuple):
    """What a member says of some images.

    Attributes:
        member: its place.
        probabilities: float32 [B, maps, H, W].
        image: [B, C, H, W] in 0..1.
    """

    member: int
    probabilities: Tensor
    image: Tensor


class Combination(nn.Module, ABC):
    """Members' probabilities, one after the other, into sums: memory doesn't grow with their number.

    A member counts at a pixel with a weight. What the members say together is the weighted mean of their probabilities,
    unless a subclass sums up something else and says what its sum means.

    Attributes:
        members: how many there are.
        maps: probability maps of each.
        task: what the maps are.
    """

    name: str

    def __init__(self, members: int, maps: int, task: Task) -> None:
        super().__init__()
        self.members, self.maps, self.task = members, maps, task

    @abstractmethod
    def weight(self, said: Said) -> Tensor:
        """How much a member counts, 0 or more, in proportion: [B or 1, maps or 1, H or 1, W or 1]."""

    def summand(self, said: Said, weight: Tensor) -> Tensor:
        """What the member adds to the sum: [B, any, H, W]."""
        return weight * said.probabilities

    def combined(self, total: Tensor, weights: Tensor) -> Tensor:
        """Probabilities float32 [B, maps, H, W] of the whole, of the sum of summands and that of weights."""
        return total / weights

    def options(self) -> dict[str, Any]:
        """Keyword arguments, ready for JSON, that build an equal one but for its learnt tensors."""
        return {}


class Mean(Combination):
    """The weighted mean of probabilities.

    Args:
        members, maps, task: see :class:`Combination`.
        weights: one a member [M], or one a member and map [M, maps]; scaled so that they sum to 1 over the members.
            None: equal ones.

    Raises:
        UsageError: weights of another shape, below 0, or all 0.
    """

    name = "mean"
    weights: Tensor

    def __init__(
        self,
        members: int,
        maps: int,
        task: Task,
        *,
        weights: Tensor | Sequence[float] | Sequence[Sequence[float]] | None = None,
    ) -> None:
        super().__init__(members, maps, task)
        self.register_buffer("weights", _scaled(weights, members, maps))

    def weight(self, said: Said) -> Tensor:
        """The member's own, [1, 1 or maps, 1, 1]."""
        return self.weights[said.member].view(1, -1, 1, 1)

    def combined(self, total: Tensor, weights: Tensor) -> Tensor:
        """With one weight a class the softmax maps no longer sum to 1: scale them back."""
        mean = super().combined(total, weights)
        if self.task == "multiclass" and weights.shape[1] > 1:
            mean = mean.clamp_min(torch.finfo(mean.dtype).tiny)  # each class may be named by members of weight 0 alone
            return mean / mean.sum(1, keepdim=True)
        return mean

    def options(self) -> dict[str, Any]:
        """The weights."""
        return {"weights": self.weights.tolist()}


def _scaled(weights: Any, members: int, maps: int) -> Tensor:
    """Weights [M, 1] or [M, maps] that sum to 1 over the members."""
    if weights is None:
        return torch.full((members, 1), 1 / members)
    table = torch.as_tensor(weights, dtype=torch.float32)
    if table.shape not in ((members,), (members, 1), (members, maps)):
        raise UsageError(f"weights have shape {list(table.shape)}; expected [{members}] or [{members}, {maps}]")
    if not bool(torch.isfinite(table).all()) or bool((table < 0).any()) or bool((table.sum(0) <= 0).any()):
        raise UsageError("weights must be finite, zero or more, with a positive sum over the members")
    table = table.view(members, -1)
    return table / table.sum(0)
