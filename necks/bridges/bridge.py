"""The contract of every bridge: features of colour and of a second modality in, features of colour out."""

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor, nn


class Bridge(nn.Module, ABC):
    """Tells the colour features of one level of a pyramid what the depth features there have to say.

    ``depth`` stands for any second modality. A bridge is built for one level, from its channels: of ``colour`` and of
    ``depth``, in this order. A new one is the identity on the colour features, to the bit, as long as both features are
    finite: it adds what its last convolution gives, whose weights begin at zero. So a colour network that was trained
    alone is what it was until its bridges have learnt something.

    Attributes:
        coarsest: on how many levels it is used unless told otherwise, counted from the coarsest of those that colour
            and depth have in common; None means all.
    """

    coarsest: ClassVar[int | None] = None

    @abstractmethod
    def forward(self, colour: Tensor, depth: Tensor, valid: Tensor) -> Tensor:
        """The colour features [B, colour, h, w], of their own dtype.

        Args:
            colour: features of the image [B, colour, h, w].
            depth: features of the second modality, on the same grid, [B, depth, h, w].
            valid: the share of each of the grid's cells that was measured, 0 to 1, [B, 1, h, w].
        """


def zero(last: nn.Conv2d) -> nn.Conv2d:
    """The convolution with which a bridge ends, saying nothing yet: all its weights are zero."""
    for parameter in last.parameters():
        nn.init.zeros_(parameter)
    return last
