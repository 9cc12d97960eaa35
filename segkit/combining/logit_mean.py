"""The weighted mean of logits: of probabilities, the normalised geometric mean."""

from torch import Tensor

from segkit.combining.combination import Mean, Said
from segkit.statistics import logits_of, probabilities_of


class LogitMean(Mean):
    """The weighted mean of the members' logits, as probabilities (Genest and Zidek, Statistical Science, 1986).

    A member that is sure pulls harder than in the mean of probabilities. Arguments are those of :class:`Mean`.
    """

    name = "logit_mean"

    def summand(self, said: Said, weight: Tensor) -> Tensor:
        """The member's weighted logits, [B, maps, H, W]."""
        return weight * logits_of(said.probabilities, self.task)

    def combined(self, total: Tensor, weights: Tensor) -> Tensor:
        """Sigmoid or softmax of the mean logits."""
        return probabilities_of(total / weights, self.task)
