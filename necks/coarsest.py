"""No neck at all: the coarsest level, for heads that bring a classic network's last map back up on their own."""

from collections.abc import Sequence

from torch import Tensor

from segkit.necks.neck import Neck, step_ratios


class Coarsest(Neck):
    """The pyramid's coarsest level alone, unchanged, as in the fully convolutional FCN-32s (Long et al., CVPR 2015).

    Args:
        channels: channels of each incoming level, finest first.
        strides: stride of each incoming level, finest first; each a multiple of the one before.
    """

    def __init__(self, channels: Sequence[int], strides: Sequence[int]) -> None:
        super().__init__()
        step_ratios(channels, strides)  # for its refusals
        self.channels = (channels[-1],)
        self.strides = (strides[-1],)

    def forward(self, pyramid: Sequence[Tensor]) -> list[Tensor]:
        """The last level [B, channels[-1], h, w]."""
        return [pyramid[-1]]
