"""The contract of every head: fused maps in, logits of the image's size out."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor, nn


class Head(nn.Module, ABC):
    """Turns a neck's maps into logits [B, K, H, W]; reads the main one, ``levels[0]``."""

    @abstractmethod
    def forward(self, levels: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        """Logits [B, K, *size]; ``size`` is the image's, height first."""


def at_least_one(**values: int) -> None:
    """Nothing, where every value is 1 or more; otherwise ValueError with all of them."""
    if min(values.values()) < 1:
        *first, last = values
        raise ValueError(f"{', '.join(first)} and {last} are {tuple(values.values())}; expected 1 or more")


def doublings_in(stride: int) -> int:
    """How many factors of two a stride has: 12 has 2."""
    return (stride & -stride).bit_length() - 1
