"""The contract of every backbone: an image in, a pyramid of feature maps out, finest first."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor, nn


class Backbone(nn.Module, ABC):
    """Turns an image [B, C, H, W] into feature maps; level i is [B, channels[i], ⌈H/strides[i]⌉, ⌈W/strides[i]⌉].

    Attributes:
        channels: channels of each level that ``forward`` returns, finest first.
        strides: input pixels per feature pixel of each level, finest first.
        modalities: what the backbone looks at, ``("image",)`` or ``("image", "depth")``.
    """

    channels: tuple[int, ...]
    strides: tuple[int, ...]
    modalities: tuple[str, ...] = ("image",)

    @property
    @abstractmethod
    def stages(self) -> list[nn.Module]:
        """The parts in order from the input: freezing, layer-wise learning rates and checkpointing go by it."""

    @abstractmethod
    def forward(self, image: Tensor, depth: Tensor | None = None) -> list[Tensor]:
        """The pyramid of a batch, finest level first."""


class ImageBackbone(Backbone):
    """A backbone of the image alone: subclasses write ``pyramid``, this class refuses what they can't take.

    Args:
        in_channels: channels of the image.

    Raises from ``forward``: ValueError when a depth map is given, or the image has other than ``in_channels`` channels.
    """

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        if in_channels < 1:
            raise ValueError(f"in_channels is {in_channels}; expected 1 or more")
        self.in_channels = in_channels

    def forward(self, image: Tensor, depth: Tensor | None = None) -> list[Tensor]:
        """The pyramid of a batch of images [B, in_channels, H, W], finest level first."""
        if depth is not None:
            raise ValueError(f"{type(self).__name__} takes an image alone; got a depth map too")
        if image.ndim != 4 or image.shape[1] != self.in_channels:
            raise ValueError(
                f"{type(self).__name__} expects images [B, {self.in_channels}, H, W], got {list(image.shape)}; "
                "create the backbone with in_channels= to fit them"
            )
        return self.pyramid(image)

    @abstractmethod
    def pyramid(self, image: Tensor) -> list[Tensor]:
        """The selected levels of a batch of images, finest first."""


def select_levels(levels: Sequence[int] | None, count: int) -> tuple[int, ...]:
    """The level indices to return, finest first: all ``count`` of them where ``levels`` is None.

    Raises ValueError unless they are one or more different indices in 0..count-1, in rising order.
    """
    if levels is None:
        return tuple(range(count))
    chosen = tuple(levels)
    if not chosen or chosen != tuple(sorted(set(chosen))) or chosen[0] < 0 or chosen[-1] >= count:
        raise ValueError(f"levels is {list(chosen)}; expected rising indices among 0..{count - 1}, finest first")
    return chosen
