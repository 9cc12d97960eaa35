"""Another library's network as a backbone: it is watched once on an empty image, then used at any size."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segkit.backbones.backbone import ImageBackbone, ImageTooLargeError, ceil, select_levels
from segkit.backbones.weights import WeightReport
from segkit.one_line import one_line

Size = tuple[int, int]


@dataclass(frozen=True)
class Trial:
    """A size to watch a network at, and what it means when the network accepts it.

    Attributes:
        size: of the empty image.
        multiple: image sides are filled up to multiples of these.
        fixed: the network takes this one size alone.
    """

    size: Size
    multiple: Size
    fixed: bool = False


@dataclass(frozen=True)
class Level:
    """One level of the pyramid: where it stands in what the network returns, and its true channels and stride."""

    place: int
    channels: int
    stride: int


@dataclass(frozen=True)
class Behaviour:
    """What a network was seen to do.

    Attributes:
        trial: the first size that it accepted.
        levels: one a stride, finest first.
        order: names of its parts that ran, in that order, each with the stride at which it answers (None: no map).
    """

    trial: Trial
    levels: tuple[Level, ...]
    order: tuple[tuple[str, int | None], ...]

    def with_places(self, places: Mapping[int, int]) -> "Behaviour":
        """The same, with some levels standing elsewhere in what the network returns: level → place."""
        moved = (replace(level, place=places.get(i, level.place)) for i, level in enumerate(self.levels))
        return replace(self, levels=tuple(moved))


class _NoPyramidError(ValueError):
    """The maps that a network returns are no pyramid."""


class Foreign(ImageBackbone):
    """A pyramid from a network that may want image sides divisible by something, or maps with channels last.

    The image is filled up at the bottom and right, and each level cropped to ceil size. What is filled up is zero,
    which after a Segmenter's normalisation is the mean colour and what convolutions pad their borders with.

    Args:
        title: the name that errors use.
        network: image → list of maps.
        behaviour: what :func:`watch` saw of it.
        in_channels: channels of the image.
        levels: indices among ``behaviour.levels`` to return; None returns all.
        channels_last: whether the maps are [B, h, w, C].
        pretrained: whether the network came with its library's weights.

    Raises from ``forward``: ValueError for an image larger than the one size that a network takes.
    """

    def __init__(
        self,
        title: str,
        network: nn.Module,
        behaviour: Behaviour,
        *,
        in_channels: int,
        levels: Sequence[int] | None,
        channels_last: bool,
        pretrained: bool,
    ) -> None:
        super().__init__(in_channels)
        self.title = title
        self.network = network
        self.trial = behaviour.trial
        self.channels_last = channels_last
        chosen = [behaviour.levels[i] for i in select_levels(levels, len(behaviour.levels))]
        self.places = tuple(level.place for level in chosen)
        self.channels = tuple(level.channels for level in chosen)
        self.strides = tuple(level.stride for level in chosen)
        kept = {name for name, part in network.named_modules() if next(part.parameters(), None) is not None}
        order = [(name, stride) for name, stride in behaviour.order if name in kept]
        self._stage_parts = _by_level(order, [level.stride for level in behaviour.levels])
        if pretrained:  # the libraries fill every tensor, or fail
            loaded = tuple(self.state_dict())
            self.pretrained = WeightReport(loaded=loaded, interpolated=(), folded=(), random=(), unused=())

    @property
    def stages(self) -> list[nn.Module]:
        """One a level of the whole pyramid: the network's parts that answer at its stride, in the order they run.

        A level that is merely pooled has no part that learns, and no stage.

        What the network holds beside its parts, such as position tables, belongs to the first.
        """
        stages = [[self.network.get_submodule(name) for name in names] for names in self._stage_parts]
        in_parts = {id(p) for parts in stages for part in parts for p in part.parameters()}
        beside = [p for p in self.network.parameters() if id(p) not in in_parts]
        if beside:
            stages[0].append(nn.ParameterList(beside))
        return [nn.ModuleList(parts) for parts in stages]

    def pyramid(self, image: Tensor) -> list[Tensor]:
        """The selected levels of a batch of images, finest first."""
        height, width = image.shape[-2:]
        rows, columns = self.trial.multiple
        if self.trial.fixed and (height > rows or width > columns):
            raise ImageTooLargeError(
                f"'{self.title}' takes images up to {rows}×{columns}, got {height}×{width}; "
                "create it with img_size= to fit them, or predict in tiles"
            )
        bottom, right = ceil(height, rows) * rows - height, ceil(width, columns) * columns - width
        maps = self.network(F.pad(image, (0, right, 0, bottom)))
        levels = []
        for place, stride in zip(self.places, self.strides, strict=True):
            level = maps[place].permute(0, 3, 1, 2) if self.channels_last else maps[place]
            levels.append(level.narrow(-2, 0, ceil(height, stride)).narrow(-1, 0, ceil(width, stride)))
        return levels


def watch(
    title: str, network: nn.Module, trials: Sequence[Trial], *, in_channels: int, channels_last: bool = False
) -> Behaviour:
    """What the network does with an empty image of the first size that it accepts; it is left as it was.

    Maps that are the image itself, have no channels, or are followed by another of the same stride are no levels.

    Raises ValueError where no size is accepted, where maps lose borders, and where there are fewer than two strides.
    """
    was_training = network.training
    refusals: list[Exception] = []
    network.eval()
    try:
        for trial in trials:
            try:
                image, maps, outputs = _run(network, in_channels, trial.size)
                levels = _levels(title, image, maps, channels_last)
            except Exception as error:  # whatever a foreign network says of a size that it can't take
                refusals.append(error)
                continue
            order = _order(network, outputs, trial.size, channels_last)
            return Behaviour(trial, levels, order)
    finally:
        network.train(was_training)
    for refusal in refusals:
        if isinstance(refusal, _NoPyramidError):
            raise refusal
    raise ValueError(f"'{title}' can't be run as a backbone: {one_line(refusals[0])}") from refusals[0]


def drop_unused(network: nn.Module, size: Size, *, in_channels: int) -> None:
    """Take the parts away that an image doesn't reach; what asks for them by name finds an ``nn.Identity``."""
    was_training = network.training
    _, _, ran = _run(network.eval(), in_channels, size)
    network.train(was_training)
    _drop(network, ran, "")


def _drop(module: nn.Module, ran: Mapping[str, Any], prefix: str) -> None:
    for name, child in list(module.named_children()):
        path = prefix + name
        if path in ran:
            continue
        if any(other.startswith(f"{path}.") for other in ran):
            _drop(child, ran, f"{path}.")
        else:
            setattr(module, name, nn.Identity())


def _run(network: nn.Module, in_channels: int, size: Size) -> tuple[Tensor, Sequence[Tensor], dict[str, Any]]:
    """An empty image, the network's maps of it, and what each part put out, in the order they ran."""
    outputs: dict[str, Any] = {}

    def note(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(_part: nn.Module, _given: object, output: object) -> None:
            outputs.setdefault(name, output)

        return hook

    image = torch.zeros(1, in_channels, *size, device=next(network.parameters()).device)
    handles = [part.register_forward_hook(note(name)) for name, part in network.named_modules() if name]
    try:
        with torch.no_grad():
            return image, network(image), outputs
    finally:
        for handle in handles:
            handle.remove()


def _levels(title: str, image: Tensor, maps: Sequence[Tensor], channels_last: bool) -> tuple[Level, ...]:
    height, width = image.shape[-2:]
    levels = {}
    for place, level in enumerate(maps):
        if level is image:
            continue
        channels = level.shape[3] if channels_last else level.shape[1]
        rows, columns = level.shape[1:3] if channels_last else level.shape[2:]
        if channels == 0:
            continue
        stride = height // rows
        if (rows * stride, columns * stride) != (height, width):
            raise _NoPyramidError(
                f"'{title}' is no backbone: a {height}×{width} image becomes a {rows}×{columns} map, so that it has no "
                "whole stride; choose another network"
            )
        levels[stride] = Level(place, channels, stride)
    strides = sorted(levels)
    if len(strides) < 2 or any(coarse % fine for fine, coarse in pairwise(strides)):
        raise _NoPyramidError(
            f"'{title}' has no pyramid: its maps have strides {strides}; expected two or more, each a multiple of the "
            "one before"
        )
    return tuple(levels[stride] for stride in strides)


def _order(
    network: nn.Module, outputs: dict[str, Any], size: Size, channels_last: bool
) -> tuple[tuple[str, int | None], ...]:
    parts = set(_parts(network, outputs, ""))
    learning = {name for name in parts if next(network.get_submodule(name).parameters(), None) is not None}
    return tuple((name, _stride(out, size, channels_last)) for name, out in outputs.items() if name in learning)


def _parts(module: nn.Module, ran: dict[str, Any], prefix: str) -> Iterator[str]:
    """Names of the outermost parts that ran: containers that only hold others are looked into."""
    for name, child in module.named_children():
        if prefix + name in ran:
            yield prefix + name
        else:
            yield from _parts(child, ran, f"{prefix}{name}.")


def _stride(output: Any, size: Size, channels_last: bool) -> int | None:
    """The stride at which a part answers, None where it puts out no map; rows of tokens count by their number."""
    while isinstance(output, (list, tuple)) and output:
        output = output[0]
    if not isinstance(output, Tensor):
        return None
    if output.ndim == 3:
        return round(math.sqrt(size[0] * size[1] / output.shape[1]))
    if output.ndim != 4:
        return None
    return round(size[0] / (output.shape[1] if channels_last else output.shape[2]))


def _by_level(order: Sequence[tuple[str, int | None]], strides: Sequence[int]) -> tuple[tuple[str, ...], ...]:
    """The parts of each level: a part belongs to the finest level that is no finer than its own answer."""
    groups: list[list[str]] = [[] for _ in strides]
    level = 0
    for name, stride in order:
        if stride is not None:  # never back to a finer level: parts are in the order from the input
            level = max(level, next((i for i, known in enumerate(strides) if known >= stride), len(strides) - 1))
        groups[level].append(name)
    return tuple(tuple(group) for group in groups if group)
