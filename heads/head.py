"""The contract of every head: fused maps in, logits of the image's size out."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor, nn


class Head(nn.Module, ABC):
    """Turns a neck's maps into logits [B, K, H, W]; reads the main one, ``levels[0]``."""

    @abstractmethod
    def forward(self, levels: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        """Logits [B, K, *size]; ``size`` is the image's, height first."""
