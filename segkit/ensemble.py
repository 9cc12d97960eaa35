"""Ensemble: the weighted mean of its members' probability maps, with their disagreement."""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from segkit.errors import UsageError
from segkit.model import Segmenter, Task
from segkit.statistics import PixelStatistics, entropy

NAME = r"[A-Za-z0-9][A-Za-z0-9_-]*"


class Ensemble(nn.Module):
    """Average members per pixel, one after the other into running sums: memory doesn't grow with their number.

    Args:
        members: trained segmenters with the same classes, task and reader. Each brings its own normalisation.
        weights: ``None`` for equal weights, a tensor [M] (one a member) or [M, K] (one a member and map); scaled
            so that they sum to 1 over the members.
        names: the members' names, for files and tables.

    Raises:
        UsageError: members that don't fit together, or weights that don't fit them.
    """

    weights: Tensor

    def __init__(
        self,
        members: Sequence[Segmenter],
        weights: Tensor | Sequence[float] | None = None,
        *,
        names: Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        if not members:
            raise UsageError("an ensemble needs at least one member")
        first = members[0]
        self.names = tuple(names) if names is not None else tuple(f"member_{i}" for i in range(len(members)))
        if len(self.names) != len(members) or len(set(self.names)) < len(members):
            raise UsageError(f"names {list(self.names)} for {len(members)} members; give each its own")
        for name in self.names:
            if not re.fullmatch(NAME, name):
                raise UsageError(f"member name {name!r}: expected letters, digits, '-' and '_'; it also names a file")
        for name, member in zip(self.names, members, strict=True):
            for what in ("task", "classes", "background", "reader"):
                theirs, ours = getattr(member, what), getattr(first, what)
                if theirs != ours:
                    raise UsageError(
                        f"member {name!r} has {what} {theirs}, {self.names[0]!r} has {ours}; they must agree"
                    )
        self.task: Task = first.task
        self.classes, self.background, self.maps, self.reader = (
            first.classes,
            first.background,
            first.maps,
            first.reader,
        )
        self.about: dict[str, Any] = {}
        self.members = nn.ModuleList(members)
        self.register_buffer("weights", _normalised(weights, len(members), self.maps))

    @property
    def takes_whole_images(self) -> bool:
        """Whether a member can't work in tiles."""
        return any(member.takes_whole_images for member, _ in self._weighted())

    def forward(self, image: Tensor, depth: Tensor | None = None) -> Tensor:
        """Probabilities float32 [B, maps, H, W]; the same as :meth:`probabilities`."""
        return self.probabilities(image, depth)

    def probabilities(self, image: Tensor, depth: Tensor | None = None) -> Tensor:
        """Weighted mean of the members' probabilities, float32 [B, maps, H, W] in 0..1."""
        return self._mean(member.probabilities(image, depth) for member, _ in self._weighted())

    def probabilities_with_members(self, image: Tensor, depth: Tensor | None = None) -> list[Tensor]:
        """What :meth:`probabilities` gives, then each member's own, from one pass of each; [B, maps, H, W] all."""
        members = [member.probabilities(image, depth) for member, _ in self._weighted()]
        return [self._mean(members), *members]

    def statistics(self, image: Tensor, depth: Tensor | None = None) -> PixelStatistics:
        """Probabilities, entropy of their mean, mutual information and standard deviation over the members.

        Mutual information is the entropy of the mean minus the mean of the entropies (Houlsby et al., 2011; nats),
        weighted as the mean is; with a weight a member and map, its entropies take the member's mean weight.
        """
        mean = square = within = torch.zeros((), device=image.device)
        for member, weight in self._weighted():
            probabilities = member.probabilities(image, depth)
            scaled = probabilities * weight.view(1, -1, 1, 1)
            mean = mean + scaled
            square = square + scaled * probabilities
            within = within + entropy(probabilities, self.task) * weight.mean()
        mean = self._proper(mean)
        total = entropy(mean, self.task)
        return PixelStatistics(
            probabilities=mean,
            entropy=total,
            mutual_information=(total - within).clamp_min(0),
            std=(square - mean * mean).clamp_min(0).sqrt(),
        )

    def _weighted(self) -> Iterator[tuple[Segmenter, Tensor]]:
        """Each member with its weights, [1] or [K]."""
        return zip(cast("Iterable[Segmenter]", self.members), self.weights, strict=True)

    def _mean(self, members: Iterable[Tensor]) -> Tensor:
        """Weighted mean of what each member gives, taken one after the other."""
        total = torch.zeros(())
        for probabilities, weight in zip(members, self.weights, strict=True):
            total = torch.addcmul(total.to(probabilities.device), probabilities, weight.view(1, -1, 1, 1))
        return self._proper(total)

    def _proper(self, mean: Tensor) -> Tensor:
        """With one weight a class the softmax maps no longer sum to 1: scale them back. Rounding never exceeds 1."""
        if self.task == "multiclass" and self.weights.shape[1] > 1:
            mean = mean / mean.sum(1, keepdim=True)
        return mean.clamp(max=1)


def _normalised(weights: Tensor | Sequence[float] | None, members: int, maps: int) -> Tensor:
    """Weights [M, 1] or [M, K] that sum to 1 over the members."""
    if weights is None:
        return torch.full((members, 1), 1 / members)
    table = torch.as_tensor(weights, dtype=torch.float32)
    if table.shape not in ((members,), (members, 1), (members, maps)):
        raise UsageError(f"weights have shape {list(table.shape)}; expected [{members}] or [{members}, {maps}]")
    if not bool(torch.isfinite(table).all()) or bool((table < 0).any()) or bool((table.sum(0) <= 0).any()):
        raise UsageError("weights must be finite, zero or more, with a positive sum over the members")
    table = table.view(members, -1)
    return table / table.sum(0, keepdim=True)
