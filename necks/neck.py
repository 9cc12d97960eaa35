"""The contract of every neck: a backbone's pyramid in, fused maps out."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn


class Neck(nn.Module, ABC):
    """Fuses a pyramid, finest level first, into maps of which [0] is the main one; others feed deep supervision.

    Attributes:
        channels: channels of each map that ``forward`` returns.
        strides: stride of each map that ``forward`` returns.
    """

    channels: tuple[int, ...]
    strides: tuple[int, ...]

    @abstractmethod
    def forward(self, pyramid: Sequence[Tensor]) -> list[Tensor]:
        """The fused maps, the main one first."""


def step_ratios(channels: Sequence[int], strides: Sequence[int]) -> tuple[int, ...]:
    """By how much each step of a pyramid shrinks: strides (2, 4, 16) give (2, 4).

    Raises ValueError unless there is a stride for each level and each is a multiple of the one before.
    """
    if not strides or len(channels) != len(strides):
        raise ValueError(f"got channels {list(channels)} and strides {list(strides)}; expected one of each per level")
    if any(coarse % fine for fine, coarse in pairwise(strides)):
        raise ValueError(f"strides are {list(strides)}; expected each to be a multiple of the one before, finest first")
    return tuple(coarse // fine for fine, coarse in pairwise(strides))
