"""The contract of every backbone: an image in, a pyramid of feature maps out, finest first."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal, Self

from torch import Tensor, nn

if TYPE_CHECKING:
    from segkit.backbones.weights import WeightReport


class ImageTooLargeError(ValueError):
    """An image has more pixels than a backbone of one size takes."""


class Backbone(nn.Module, ABC):
    """Turns an image [B, C, H, W] into feature maps; level i is [B, channels[i], ⌈H/strides[i]⌉, ⌈W/strides[i]⌉].

    Attributes:
        channels: channels of each level that ``forward`` returns, finest first.
        strides: input pixels per feature pixel of each level, finest first.
        modalities: what the backbone looks at, ``("image",)`` or ``("image", "depth")``.
        unpublished: beginnings of names of tensors that published weights may lack.
        pretrained: what became of the weights that it was given; None where it has random ones, and where several
            trunks each have theirs.
        frozen: how many of its stages don't learn, see :meth:`freeze`.
    """

    channels: tuple[int, ...]
    strides: tuple[int, ...]
    modalities: tuple[str, ...] = ("image",)
    unpublished: tuple[str, ...] = ()
    pretrained: "WeightReport | None" = None
    frozen: int = 0

    @property
    @abstractmethod
    def stages(self) -> list[nn.Module]:
        """The parts in order from the input: freezing, layer-wise learning rates and checkpointing go by it."""

    @abstractmethod
    def forward(self, image: Tensor, depth: Tensor | None = None) -> list[Tensor]:
        """The pyramid of a batch, finest level first."""

    @property
    def trunks(self) -> list["Backbone"]:
        """The backbones that pretrained weights come in: this one; of a composite its own, without what it adds."""
        return [self]

    def freeze(self, stages: int | Literal["all"]) -> None:
        """Let the first ``stages`` of each trunk stand still, and all later ones learn.

        A frozen stage has no gradients and stays in eval mode whatever ``train()`` says, so that its BatchNorm
        statistics stay too and it drops no paths. What isn't part of a trunk's stages, as a stem, goes on learning.

        Raises ValueError where a trunk has fewer stages; then nothing was changed.
        """
        found = [(trunk, trunk.stages) for trunk in self.trunks]
        for trunk, own in found:
            if stages != "all" and (type(stages) is not int or not 0 <= stages <= len(own)):
                raise ValueError(f"can't freeze {stages!r} stages; {type(trunk).__name__} has {len(own)}")
        for trunk, own in found:
            trunk.frozen = len(own) if stages == "all" else stages
            for i, stage in enumerate(own):
                stage.requires_grad_(i >= trunk.frozen)
            trunk.train(trunk.training)

    def train(self, mode: bool = True) -> Self:
        """Train or evaluate from here on; frozen stages stay in eval mode."""
        super().train(mode)
        if self.frozen:
            for stage in self.stages[: self.frozen]:
                stage.eval()
        return self

    def own_names(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """A published state dict under this backbone's names; what no backbone has (a classifier) is left out.

        The tensors themselves pass as they are. Names that mean nothing here stay, and are an error later.
        """
        return dict(state)

    def refit(self, name: str, tensor: Tensor) -> Tensor:
        """A published tensor for the one called ``name``, which has another shape; as it is where nothing can be done.

        Only what is the same thing sampled on another grid is changed, as tables of positions are.
        """
        del name  # a backbone with such tensors overrides this
        return tensor


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
    chosen = tuple(levels) if isinstance(levels, list | tuple | range) else ()
    rising = all(type(index) is int for index in chosen) and chosen == tuple(sorted(set(chosen)))
    if not chosen or not rising or chosen[0] < 0 or chosen[-1] >= count:
        shown = list(levels) if isinstance(levels, tuple | range) else levels
        raise ValueError(f"levels is {shown!r}; expected rising indices among 0..{count - 1}, finest first")
    return chosen


def ceil(length: int, step: int) -> int:
    """How many steps cover a length, ⌈length/step⌉; no negative number on the way, which exports stumble over."""
    return (length + step - 1) // step
