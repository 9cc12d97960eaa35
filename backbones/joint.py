"""Several backbones side by side, their pyramids stacked: early fusion of unlike networks."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from segkit import backbones
from segkit.backbones.backbone import Backbone
from segkit.backbones.weights import Fold


class Joint(Backbone):
    """At each stride, the channels of every backbone that has a level there, in the backbones' order.

    A Swin of strides (4, 8, 16, 32) beside a ResNet of (2, 4, 8, 16, 32) has five levels, of which the finest is the
    ResNet's alone. Each sees the whole image; what is fused is left to the neck.

    Args:
        parts: two or more, of the image alone.

    Raises ValueError for fewer, and for one that wants a depth map.
    """

    def __init__(self, parts: Sequence[Backbone]) -> None:
        super().__init__()
        if len(parts) < 2:
            raise ValueError(f"a joint backbone of {len(parts)}; expected two or more")
        if any(backbone.modalities != ("image",) for backbone in parts):
            raise ValueError("a joint backbone's parts see the image alone; bridge it to the depth as a whole")
        self.parts = nn.ModuleList(parts)
        found: dict[int, int] = {}  # channels by stride
        for backbone in parts:
            for stride, channels in zip(backbone.strides, backbone.channels, strict=True):
                found[stride] = found.get(stride, 0) + channels
        self.strides = tuple(sorted(found))
        self.channels = tuple(found[stride] for stride in self.strides)

    @property
    def trunks(self) -> list[Backbone]:
        """Those of all parts: each takes its own weights, and is frozen and slowed down by its own stages."""
        return [trunk for part in self._backbones for trunk in part.trunks]

    @property
    def stages(self) -> list[nn.Module]:
        """The parts' stages side by side: the first of each, then the second, …"""
        stages = [part.stages for part in self._backbones]
        longest = max(len(each) for each in stages)
        return [nn.ModuleList(each[i] for each in stages if i < len(each)) for i in range(longest)]

    def forward(self, image: Tensor, depth: Tensor | None = None) -> list[Tensor]:
        """The levels [B, channels[i], ⌈H/strides[i]⌉, ⌈W/strides[i]⌉], finest first."""
        found: dict[int, list[Tensor]] = {stride: [] for stride in self.strides}
        for part in self._backbones:
            for stride, level in zip(part.strides, part(image, depth), strict=True):
                found[stride].append(level)
        return [levels[0] if len(levels) == 1 else torch.cat(levels, dim=1) for levels in found.values()]

    @property
    def _backbones(self) -> list[Backbone]:
        return [part for part in self.parts if isinstance(part, Backbone)]


def joint_of(*, of: Sequence[str | Mapping[str, Any]], in_channels: int = 3, fold: Fold | None = None) -> Joint:
    """The joint backbone of others by name.

    Args:
        of: each a name or ``{"name": …, option: value}``, weights among the options.
        in_channels: channels of the image.
        fold: how each part's weights are made those of so many channels, see ``backbones.create``.

    Raises ValueError as ``backbones.create``, and for what has no name.
    """
    named = [{"name": each} if isinstance(each, str) else dict(each) for each in of]
    for options in named:
        if not isinstance(options.get("name"), str):
            raise ValueError(f"of a joint backbone: {options}; expected a name, or {{name: …, option: value}}")
        if options.keys() & {"in_channels", "fold"}:
            raise ValueError(f"{options['name']}: in_channels is no option; it follows from the rest of the model")
    return Joint([backbones.create(**options, in_channels=in_channels, fold=fold) for options in named])
