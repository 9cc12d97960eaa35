"""Ensemble: members' probability maps combined, with their disagreement."""

from collections.abc import Iterator, Sequence
from typing import Any, cast

from torch import Tensor, nn

from segkit.adapter import Adapter
from segkit.combining import Combination
from segkit.combining.roster import combination_of, member_names, member_temperatures
from segkit.combining.sums import Spread, Sums
from segkit.errors import UsageError
from segkit.model import Segmenter
from segkit.onnx_model import OnnxModel
from segkit.statistics import PixelStatistics, tempered
from segkit.task import Task

Member = Segmenter | Adapter | OnnxModel


class Ensemble(nn.Module):
    """Combine members per pixel, one after the other into running sums: memory doesn't grow with their number.

    Args:
        members: trained models with the same classes, task and reader; ``Adapter`` makes members of others, and states
            their reader. Each brings its own normalisation.
        weights: of the mean of their probabilities: ``None`` for equal ones, a tensor [M] (one a member) or [M, K] (one
            a member and map); scaled so that they sum to 1 over the members.
        names: the members' names, for files and tables.
        combination: another way to combine them than the mean; instead of ``weights``.
        temperatures: one a member, by which its logits are divided before anything else; None: 1.
        temperature: by which the logits of the whole are divided at the end. It changes how sure the ensemble is, and
            no label at a threshold of ½: predictors apply it to what they have blended.

    Raises:
        UsageError: members that are no models or don't fit together, or weights or temperatures that don't fit them.
    """

    def __init__(
        self,
        members: Sequence[Member],
        weights: Tensor | Sequence[float] | None = None,
        *,
        names: Sequence[str] | None = None,
        combination: Combination | None = None,
        temperatures: Sequence[float] | None = None,
        temperature: float = 1.0,
    ) -> None:
        super().__init__()
        self.names = member_names(names, len(members))
        first = members[0]
        for name, member in zip(self.names, members, strict=True):
            if not all(hasattr(member, what) for what in ("task", "classes", "background", "maps", "reader")):
                raise UsageError(
                    f"member {name!r}: got {type(member).__name__}; expected a Segmenter, as segkit.load gives it, or "
                    "an Adapter, which makes one of other modules, functions and .onnx files"
                )
            for what in ("task", "classes", "background"):
                theirs, ours = getattr(member, what), getattr(first, what)
                if theirs != ours:
                    raise UsageError(
                        f"member {name!r} has {what} {theirs}, {self.names[0]!r} has {ours}; they must agree"
                    )
        self.task: Task = first.task
        self.classes, self.background, self.maps = first.classes, first.background, first.maps
        self.reader = next((member.reader for member in members if member.reader.depth_channels), first.reader)
        for name, member in zip(self.names, members, strict=True):
            ours, theirs = self.reader, member.reader
            if not theirs.depth_channels:  # members with depth and without go together
                ours, theirs = ours.of_images, theirs.of_images
            if theirs != ours:
                other = self.names[[each.reader for each in members].index(self.reader)]
                raise UsageError(
                    f"members {name!r} and {other!r} differ in {theirs.differences(ours)}; an ensemble reads each "
                    "picture once: train both with the same (an Adapter takes that of the others: reader=)"
                )
        self.about: dict[str, Any] = {}
        self.members = nn.ModuleList(members)
        self.combination = combination_of(combination, weights, len(members), self.maps, self.task)
        self.temperatures, self.temperature = member_temperatures(temperatures, len(members), temperature)

    @property
    def disagrees(self) -> bool:
        """Whether :meth:`statistics` has mutual information."""
        return True

    @property
    def takes_whole_images(self) -> bool:
        """Whether a member can't work in tiles."""
        return any(cast("Member", member).takes_whole_images for member in self.members)

    def forward(self, image: Tensor, depth: Tensor | None = None) -> Tensor:
        """Probabilities float32 [B, maps, H, W]; the same as :meth:`probabilities`."""
        return self.probabilities(image, depth)

    def probabilities(self, image: Tensor, depth: Tensor | None = None) -> Tensor:
        """What the members say together, float32 [B, maps, H, W] in 0..1."""
        image, depth = self.reader.apart(image, depth)
        sums = Sums(self.combination)
        for place, probabilities in enumerate(self.members_probabilities(image, depth)):
            sums.add(place, probabilities, image)
        return tempered(sums.probabilities(), self.temperature, self.task)

    def probabilities_with_members(self, image: Tensor, depth: Tensor | None = None) -> list[Tensor]:
        """What :meth:`probabilities` gives, then each member's own, from one pass of each; [B, maps, H, W] all."""
        image, depth = self.reader.apart(image, depth)
        sums, members = Sums(self.combination), list(self.members_probabilities(image, depth))
        for place, probabilities in enumerate(members):
            sums.add(place, probabilities, image)
        return [tempered(sums.probabilities(), self.temperature, self.task), *members]

    def statistics(self, image: Tensor, depth: Tensor | None = None) -> PixelStatistics:
        """Probabilities, their entropy, mutual information and standard deviation over the members.

        Mutual information is the entropy of the members' weighted mean, before the whole's temperature, minus the
        weighted mean of their entropies, at least 0 (Houlsby et al., 2011; nats); the standard deviation is weighted
        alike.
        """
        image, depth = self.reader.apart(image, depth)
        sums = Spread(self.combination)
        for place, probabilities in enumerate(self.members_probabilities(image, depth)):
            sums.add(place, probabilities, image)
        return sums.statistics(self.temperature)

    def members_probabilities(self, image: Tensor, depth: Tensor | None = None) -> Iterator[Tensor]:
        """Each member's probabilities at its temperature, float32 [B, maps, H, W], one after the other."""
        for place in range(len(self.members)):
            yield self.member_probabilities(place, image, depth)

    def member_probabilities(self, place: int, image: Tensor, depth: Tensor | None = None) -> Tensor:
        """Those of one member by its place; one of the image alone isn't shown the depth."""
        image, depth = self.reader.apart(image, depth)
        if depth is not None and not self.reader.depth_channels:
            raise ValueError(f"got depth {list(depth.shape)}; this ensemble's members take images alone")
        member = cast("Member", self.members[place])
        found = member.probabilities(image, depth if member.reader.depth_channels else None)
        return tempered(found, self.temperatures[place], self.task)
