"""ClassifierEnsemble: classifiers trained one by one, their probabilities combined (late fusion)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

from torch import Tensor, nn

from segkit.classification.classifier import Classifier
from segkit.classification.member_fit import check_members
from segkit.combining import Combination, Gate, Stack
from segkit.combining.roster import combination_of, member_names, member_temperatures
from segkit.combining.sums import Spread, Sums
from segkit.errors import UsageError
from segkit.statistics import tempered


@dataclass(frozen=True)
class ImageStatistics:
    """What is said of each image of a batch, float32.

    Attributes:
        probabilities: [B, K], of the whole.
        entropy: [B] in nats, 0 to ln K; how unsure the whole is in total.
        mutual_information: [B] in nats; how far the members disagree, see :class:`segkit.statistics.PixelStatistics`.
        std: [B, K]; standard deviation of the members' probabilities.
    """

    probabilities: Tensor
    entropy: Tensor
    mutual_information: Tensor
    std: Tensor


class ClassifierEnsemble(nn.Module):
    """Combine classifiers of whole images; it answers what a ``Classifier`` does.

    Args:
        members: trained classifiers of the same classes, which take the same view of an image. Each brings its own
            normalisation.
        weights: of the mean of their probabilities: None for equal ones, a tensor [M] (one a member) or [M, K] (one a
            member and class); scaled so that they sum to 1 over the members.
        names: the members' names, for files and tables.
        combination: a mean with its weights, of probabilities or of logits; instead of ``weights``.
        temperatures: one a member, by which its logits are divided before anything else; None: 1.
        temperature: by which the logits of the whole are divided at the end; it changes no order of the classes.

    Raises:
        UsageError: members that don't fit together, or weights or temperatures that don't fit them.
    """

    def __init__(
        self,
        members: Sequence[Classifier],
        weights: Tensor | Sequence[float] | Sequence[Sequence[float]] | None = None,
        *,
        names: Sequence[str] | None = None,
        combination: Combination | None = None,
        temperatures: Sequence[float] | None = None,
        temperature: float = 1.0,
    ) -> None:
        super().__init__()
        self.names = member_names(names, len(members))
        check_members(members, self.names)
        self.classes, self.view, self.channels = members[0].classes, members[0].view, members[0].channels
        self.about: dict[str, Any] = {}
        self.members = nn.ModuleList(members)
        if isinstance(combination, Gate | Stack):
            raise UsageError(f"a {combination.name} looks at pixels; classifiers of whole images have means alone")
        self.combination = combination_of(combination, weights, len(members), len(self.classes), "multiclass")
        self.temperatures, self.temperature = member_temperatures(temperatures, len(members), temperature)

    def forward(self, image: Tensor) -> Tensor:
        """Probabilities float32 [B, K]; the same as :meth:`probabilities`."""
        return self.probabilities(image)

    def probabilities(self, image: Tensor) -> Tensor:
        """What the members say together, float32 [B, K] in 0..1, of images float32 [B, C, H, W] in 0..1."""
        sums = Sums(self.combination)
        for place, said in enumerate(self.members_probabilities(image)):
            sums.add(place, said[:, :, None, None], image)
        return tempered(sums.probabilities()[:, :, 0, 0], self.temperature, "multiclass")

    def statistics(self, image: Tensor) -> ImageStatistics:
        """Probabilities, their entropy, mutual information and standard deviation over the members.

        Mutual information is the entropy of the whole minus the weighted mean of the members' entropies, at least 0
        (Houlsby et al., 2011; nats); the standard deviation is weighted alike.
        """
        sums = Spread(self.combination)
        for place, said in enumerate(self.members_probabilities(image)):
            sums.add(place, said[:, :, None, None], image)
        found = sums.statistics(self.temperature)
        assert found.mutual_information is not None
        assert found.std is not None
        return ImageStatistics(
            probabilities=found.probabilities[:, :, 0, 0],
            entropy=found.entropy[:, 0, 0],
            mutual_information=found.mutual_information[:, 0, 0],
            std=found.std[:, :, 0, 0],
        )

    def members_probabilities(self, image: Tensor) -> Iterator[Tensor]:
        """Each member's probabilities at its temperature, float32 [B, K], one after the other."""
        for member, temperature in zip(self.members, self.temperatures, strict=True):
            yield tempered(cast("Classifier", member).probabilities(image), temperature, "multiclass")
