"""Running sums over the members: what they say together, and how far they differ."""

import torch
from torch import Tensor

from segkit.combining.combination import Combination, Said
from segkit.statistics import PixelStatistics, entropy, tempered


class Sums:
    """What the members say together, of their probabilities one after the other.

    Args:
        combination: how they are combined.
    """

    def __init__(self, combination: Combination) -> None:
        self.combination = combination
        self.total = self.weights = torch.zeros(())
        self._count = 0

    def add(self, member: int, probabilities: Tensor, image: Tensor) -> None:
        """Add what a member, by its place, says of images [B, C, H, W]: [B, maps, H, W]."""
        said = Said(member, probabilities, image)
        self._sum_up(said, self.combination.weight(said))
        self._count += 1

    def probabilities(self) -> Tensor:
        """Of the whole, float32 [B, maps, H, W] in 0..1."""
        return self.combination.combined(self.total, self.weights).clamp(max=1)  # rounding exceeds 1

    def _sum_up(self, said: Said, weight: Tensor) -> None:
        self.total = self._added(self.total, self.combination.summand(said, weight))
        self.weights = self._added(self.weights, weight)

    def _added(self, total: Tensor, summand: Tensor) -> Tensor:
        """The sum of all summands up to this one.

        It stays in its place where nothing learns: maps that move at every member would leave holes in memory, and with
        them it would grow. The first two sums are new, since a summand may be a member's own.
        """
        if not self._count:
            return summand
        in_place = self._count > 1 and not torch.is_grad_enabled() and not torch.compiler.is_compiling()
        return total.add_(summand) if in_place else total + summand


class Spread(Sums):
    """The same, and what the members' own entropies and variance need."""

    def __init__(self, combination: Combination) -> None:
        super().__init__(combination)
        self.mean = self.squares = self.within = torch.zeros(())
        self._sums_probabilities = type(combination).summand is Combination.summand  # then one sum is enough

    def statistics(self, temperature: float) -> PixelStatistics:
        """Of the whole at a temperature; how far the members differ is of their own probabilities, without it.

        Whatever combines them, mutual information is the entropy of their weighted mean less the mean of their
        entropies: that of a whole whose logits are averaged or tempered may be smaller than theirs.
        """
        task = self.combination.task
        probabilities = tempered(self.probabilities(), temperature, task)
        mean = self.mean / self.weights
        mixture = mean / mean.sum(1, keepdim=True) if task == "multiclass" else mean
        share = self.weights.mean(1, keepdim=True) if task == "multiclass" else self.weights
        within = (self.within / share).mean(1)
        return PixelStatistics(
            probabilities=probabilities,
            entropy=entropy(probabilities, task),
            mutual_information=(entropy(mixture, task) - within).clamp_min(0),
            std=(self.squares / self.weights - mean * mean).clamp_min(0).sqrt(),
        )

    def _sum_up(self, said: Said, weight: Tensor) -> None:
        super()._sum_up(said, weight)
        weighted = weight * said.probabilities
        if self.combination.task == "multiclass":
            # With a weight a member and class, its entropy takes their mean.
            within = entropy(said.probabilities, "multiclass")[:, None] * weight.mean(1, keepdim=True)
        else:
            p = said.probabilities.float().clamp(0, 1)  # rounding exceeds 1
            within = weight * (torch.special.entr(p) + torch.special.entr(1 - p))
        self.mean = self.total if self._sums_probabilities else self._added(self.mean, weighted)
        self.squares = self._added(self.squares, weighted * said.probabilities)
        self.within = self._added(self.within, within)


def combined(combination: Combination, members: Tensor, image: Tensor) -> Tensor:
    """Probabilities [B, maps, h, w] of the whole, of members' [M, B, maps, h, w] and images [B, C, h, w]."""
    sums = Sums(combination)
    for member, probabilities in enumerate(members):
        sums.add(member, probabilities, image)
    return sums.probabilities()
