"""A pyramid from stages that run one after the other: what the classic networks share."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from segkit.backbones.backbone import ImageBackbone, select_levels

# Parts of torchvision's classifiers that no backbone has.
CLASSIFIER = ("classifier.", "fc.", "AuxLogits.")


class Chain(ImageBackbone):
    """A pyramid with one level a stage: what each stage hands on to the next.

    Args:
        stages: in order from the image; those coarser than the last level are not kept. Their parts bear the names that
            torchvision gave them, so that :meth:`own_names` finds the place of a published tensor.
        channels: of each stage's output.
        strides: of each stage's output.
        in_channels: channels of the image.
        levels: indices of the levels to return; None returns all.
    """

    def __init__(
        self,
        stages: Sequence[nn.Module],
        channels: Sequence[int],
        strides: Sequence[int],
        *,
        in_channels: int,
        levels: Sequence[int] | None,
    ) -> None:
        super().__init__(in_channels)
        self.levels = select_levels(levels, len(stages))
        self.layers = nn.ModuleList(stages[: self.levels[-1] + 1])
        self.channels = tuple(channels[i] for i in self.levels)
        self.strides = tuple(strides[i] for i in self.levels)
        parts = ((part, i) for i, stage in enumerate(stages) for part, _ in stage.named_children())
        self._places = {part: f"layers.{i}.{part}" for part, i in parts}

    @property
    def stages(self) -> list[nn.Module]:
        """The stages, from the image on."""
        return list(self.layers)

    def pyramid(self, image: Tensor) -> list[Tensor]:
        """The selected levels of a batch of images, finest first."""
        x, levels = image, []
        for layer in self.layers:
            x = layer(x)
            levels.append(x)
        return [levels[i] for i in self.levels]

    def own_names(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """torchvision's state dict under this backbone's names, without the classifier; own names pass unchanged."""
        return {self._own_name(key): value for key, value in state.items() if not key.startswith(CLASSIFIER)}

    def _own_name(self, key: str) -> str:
        part, _, rest = key.removeprefix("features.").partition(".")
        return f"{self._places[part]}.{rest}" if part in self._places else key


def fit_channels(convolution: nn.Conv2d, channels: int) -> nn.Conv2d:
    """The convolution itself where it takes that many channels, otherwise a fresh one that differs in nothing else.

    Its weights are drawn as widely as the old ones, scaled to the new number of inputs: answers keep their size.
    """
    if channels == convolution.in_channels:
        return convolution
    old = convolution.weight
    fresh = nn.Conv2d(
        channels,
        convolution.out_channels,
        kernel_size=(old.shape[2], old.shape[3]),
        stride=(convolution.stride[0], convolution.stride[1]),
        bias=convolution.bias is not None,
    )
    fresh.padding = convolution.padding
    with torch.no_grad():
        fresh.weight.normal_().mul_(old.std() * (old.shape[1] / channels) ** 0.5)
        if fresh.bias is not None and convolution.bias is not None:
            fresh.bias.copy_(convolution.bias)
    return fresh
