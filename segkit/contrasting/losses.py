"""Losses that draw the two halves of a pair together and those of different pairs apart, over all processes."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segkit.contrasting.gathering import gather, processes

WARMEST, COLDEST = 1.0, 0.01  # temperatures; CLIP's logits are multiplied by 100 at most


class PairLoss(nn.Module, ABC):
    """What both losses have in common: which halves belong together, which don't, and which nothing is said of.

    ``loss(first, second)`` takes rows [n, D] in which row i of both is a pair; lengths don't matter. n may be 0, and
    may differ between processes: the pairs of all of them are compared with each other, and gradients averaged over
    the processes (as DistributedDataParallel does) are those of one process with all pairs. The returned scalar's mean
    over the processes is the loss of all pairs; it is 0 where there are none.

    Args:
        radius: of ``place``, in its unit.
    """

    def __init__(self, *, radius: float = 0.0) -> None:
        super().__init__()
        if radius < 0:
            raise ValueError(f"radius is {radius}; expected 0 or more")
        self.radius = radius

    def forward(
        self,
        first: Tensor,
        second: Tensor,
        *,
        group: Tensor | None = None,
        own: Tensor | None = None,
        place: Tensor | None = None,
    ) -> Tensor:
        """Scalar float32.

        Args:
            first, second: float [n, D], the two halves of the pairs.
            group: int64 [n], numbers that mean the same in all processes; pairs of one group belong together too, as
                captions of the same words do. None: each pair is a group of its own.
            own: int64 [n, K], all groups that a first half belongs to, its pair's among them, as an image with several
                captions does; -1 where there are fewer than K, which is the same in all processes. None: its pair's.
            place: [n, 3], (picture, row, column) of pairs that are places in pictures, whose numbers are this
                process's own. Places of one picture, up to the radius apart, are no negatives of each other.

        Raises ValueError where they are no tensors, or the shapes don't go together.
        """
        if not isinstance(first, Tensor) or not isinstance(second, Tensor):
            raise ValueError(f"got {type(first).__name__} and {type(second).__name__}; expected two tensors [n, D]")
        if first.ndim != 2 or first.shape != second.shape:
            raise ValueError(f"got {list(first.shape)} and {list(second.shape)}; expected two of the same [n, D]")
        for name, given, shape in (("group", group, first.shape[:1]), ("place", place, (len(first), 3))):
            if given is not None and given.shape != shape:
                raise ValueError(f"{name} is {list(given.shape)}; expected {list(shape)}")
        if own is not None and (group is None or own.ndim != 2 or len(own) != len(first)):
            raise ValueError(f"own is {list(own.shape)}; expected [{len(first)}, K], beside group")
        with torch.autocast(first.device.type, enabled=False):  # differences of a hundredth decide
            unit = F.normalize(torch.stack([first, second], dim=1).float(), dim=2)
            both = gather(unit)  # together: two gathers might meet in another order in another process
            here = slice(both.start, both.start + len(first))
            groups = None if group is None else gather(group)
            places = None if place is None else gather(place)
            count, device = len(both.rows), first.device
            row = torch.arange(count, device=device)
            same = row[here, None] == row if groups is None else groups.rows[here, None] == groups.rows
            back = same
            if own is not None and group is not None and groups is not None:
                same = (own[:, None] == groups.rows[:, None]).any(2)
                back = (gather(own).rows == group[:, None, None]).any(2)
            unsaid = torch.zeros_like(same)
            if places is not None:
                picture, where = places.rows[:, 0], places.rows[:, 1:].float()
                one = (picture[here, None] == picture) & (places.rank[here, None] == places.rank)
                apart = (where[here, None] - where).square().sum(2)
                unsaid = one & (apart <= self.radius**2) & ~same
            pairs = _Pairs(unit[:, 0], unit[:, 1], both.rows[:, 0], both.rows[:, 1], same, back, unsaid)
            return self.of_pairs(pairs) * processes()

    @abstractmethod
    def of_pairs(self, pairs: "_Pairs") -> Tensor:
        """This process's share of the loss of all pairs."""


@dataclass(frozen=True)
class _Pairs:
    """Unit vectors of this process's pairs [n, D] and of all [N, D]; how they stand to each other, bool [n, N].

    ``same``: own first halves and all second ones that belong together; ``back``: own second halves and all first ones.
    """

    first: Tensor
    second: Tensor
    every_first: Tensor
    every_second: Tensor
    same: Tensor
    back: Tensor
    unsaid: Tensor


class InfoNCE(PairLoss):
    """Symmetric InfoNCE with a learned temperature, as CLIP's (Radford et al., ICML 2021, figure 3).

    The mean over pairs i of -log softmax_j(cos(first_i, second_j) / t) at j = i, and of the same with the roles
    exchanged, halved. Of a group of several (UniCL, Yang et al., CVPR 2022), the mean over its members instead.

    ``log_scale``, log(1 / t), is a parameter: it is in the state dict, follows the module and learns. It is kept where
    1 / t is 1..100, by setting it back before it is used: a clamp in the graph would leave it no gradient out there.

    Args:
        temperature: to begin with, 0.01..1.
        radius: see ``PairLoss``.

    >>> loss = InfoNCE(temperature=1.0)
    >>> round(float(loss(torch.eye(2), torch.eye(2)).detach()), 4)  # log(1 + exp(-1))
    0.3133
    """

    def __init__(self, *, temperature: float = 0.07, radius: float = 0.0) -> None:
        super().__init__(radius=radius)
        if not COLDEST <= temperature <= WARMEST:
            raise ValueError(f"temperature is {temperature}; expected {COLDEST}..{WARMEST:g}")
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / temperature)))

    @property
    def temperature(self) -> float:
        """As it is now."""
        return math.exp(-float(self.log_scale.detach()))

    def of_pairs(self, pairs: _Pairs) -> Tensor:
        """This process's share of the mean."""
        with torch.no_grad():
            self.log_scale.clamp_(-math.log(WARMEST), -math.log(COLDEST))
        scale = self.log_scale.exp()
        total = torch.zeros((), device=scale.device)
        for own, every, same in (
            (pairs.first, pairs.every_second, pairs.same),
            (pairs.second, pairs.every_first, pairs.back),
        ):
            share = same / same.sum(1, keepdim=True)
            logits = (scale * own @ every.T).masked_fill(pairs.unsaid, -torch.inf)
            found = logits.log_softmax(1).masked_fill(pairs.unsaid, 0)
            total = total - (share * found).sum()
        return total / max(1, 2 * len(pairs.every_first))


class MarginPairs(PairLoss):
    """Contrastive loss of pairs with a margin (Hadsell, Chopra and LeCun, CVPR 2006, equation 4).

    With D the distance of two unit vectors, 0..2: the mean of D² / 2 over what belongs together, plus the mean of
    max(0, margin - D)² / 2 over what doesn't, each first half against each second one. The paper sums over pairs that
    somebody chose; with means the N negatives of each positive don't outweigh it.

    Args:
        margin: above 0, at most 2: how far apart is far enough.
        radius: see ``PairLoss``.

    >>> round(float(MarginPairs(margin=2.0)(torch.eye(2), torch.eye(2))), 4)  # (2 - √2)² / 2
    0.1716
    """

    def __init__(self, *, margin: float = 1.0, radius: float = 0.0) -> None:
        super().__init__(radius=radius)
        if not 0 < margin <= 2:
            raise ValueError(f"margin is {margin}; unit vectors are 0..2 apart")
        self.margin = margin

    def of_pairs(self, pairs: _Pairs) -> Tensor:
        """This process's share of both means."""
        squared = (2 - 2 * pairs.first @ pairs.every_second.T).clamp(min=0)
        near = squared / 2
        distance = squared.clamp(min=1e-12).sqrt()  # at 0 the direction to part in is unknown: no gradient
        far = (self.margin - distance).clamp(min=0).square() / 2
        apart = ~(pairs.same | pairs.unsaid)
        counts = torch.stack([pairs.same.sum(), apart.sum()])
        everyone = gather(counts[None]).rows.sum(0).clamp(min=1)
        return (near * pairs.same).sum() / everyone[0] + (far * apart).sum() / everyone[1]
