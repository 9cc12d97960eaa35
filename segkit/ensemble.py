"""Ensemble: members' probability maps combined, with their disagreement."""

import math
import re
from collections.abc import Iterator, Sequence
from typing import Any, cast

from torch import Tensor, nn

from segkit.adapter import Adapter
from segkit.combining import Combination, Mean
from segkit.combining.sums import Spread, Sums
from segkit.errors import UsageError
from segkit.model import Segmenter
from segkit.onnx_model import OnnxModel
from segkit.statistics import PixelStatistics, tempered
from segkit.task import Task

Member = Segmenter | Adapter | OnnxModel
NAME = r"[A-Za-z0-9][A-Za-z0-9_-]*"


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
        UsageError: members that don't fit together, or weights or temperatures that don't fit them.
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
                if what == "reader":  # members with depth and without go together
                    theirs, ours = theirs.of_images, ours.of_images
                if theirs != ours:
                    raise UsageError(
                        f"member {name!r} has {what} {theirs}, {self.names[0]!r} has {ours}; they must agree"
                    )
        self.task: Task = first.task
        self.classes, self.background, self.maps = first.classes, first.background, first.maps
        self.reader = next((member.reader for member in members if member.reader.depth_channels), first.reader)
        for name, member in zip(self.names, members, strict=True):
            if member.reader.depth_channels and member.reader != self.reader:
                raise UsageError(f"member {name!r} has reader {member.reader}, another {self.reader}; they must agree")
        self.about: dict[str, Any] = {}
        self.members = nn.ModuleList(members)
        if combination is None:
            combination = Mean(len(members), self.maps, self.task, weights=weights)
        elif weights is not None:
            raise UsageError("weights and combination: give one of them; weights are those of the mean")
        if (combination.members, combination.maps, combination.task) != (len(members), self.maps, self.task):
            raise UsageError(
                f"the combination is of {combination.members} {combination.task} members with {combination.maps} maps; "
                f"here are {len(members)} {self.task} members with {self.maps}"
            )
        self.combination = combination
        self.temperatures = tuple(float(each) for each in temperatures or (1.0,) * len(members))
        self.temperature = float(temperature)
        if len(self.temperatures) != len(members):
            raise UsageError(f"{len(self.temperatures)} temperatures for {len(members)} members; give each its own")
        for each in (*self.temperatures, self.temperature):
            if not 0 < each < math.inf:
                raise UsageError(f"temperature {each:g}: expected a number above 0")

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

        Mutual information is the entropy of the whole minus the weighted mean of the members' entropies, at least 0
        (Houlsby et al., 2011; nats); the standard deviation is weighted alike.
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
