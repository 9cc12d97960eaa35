"""Parts of one's own are run once when they are built: what they return is what they say, or it is told here."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from segkit.one_line import one_line

if TYPE_CHECKING:
    from segkit.backbones.backbone import Backbone
    from segkit.heads.head import Head
    from segkit.necks.bridges.bridge import Bridge
    from segkit.necks.neck import Neck

HEIGHT, WIDTH = 65, 97  # odd at every stride up to 32, where sizes rounded down are seen
GRID = 8  # a bridge's stride: fine enough, and light for attention among all cells
LEVELS = "level i has the size ⌈height/strides[i]⌉ × ⌈width/strides[i]⌉ and channels[i] channels"


def check_backbone(title: str, backbone: "Backbone", in_channels: int) -> None:
    """Raise ValueError unless an image becomes maps of the channels and strides that the backbone says it has."""
    expected = _shapes(backbone.channels, backbone.strides, title)
    _check(title, backbone, lambda empty: backbone(empty(in_channels, 1)), expected, LEVELS)


def check_neck(title: str, neck: "Neck", channels: Sequence[int], strides: Sequence[int]) -> None:
    """Raise ValueError unless a pyramid becomes a list of maps of the channels and strides that the neck says."""
    expected = _shapes(neck.channels, neck.strides, title)
    _check(
        title,
        neck,
        lambda empty: neck([empty(*each) for each in zip(channels, strides, strict=True)]),
        expected,
        LEVELS,
    )


def check_head(title: str, head: "Head", channels: int, stride: int, classes: int) -> None:
    """Raise ValueError unless a map becomes one logit map a class at the image's size."""
    expected = [[1, classes, HEIGHT, WIDTH]]
    _check(
        title,
        head,
        lambda empty: [head([empty(channels, stride)], (HEIGHT, WIDTH))],
        expected,
        "logits have the image's size",
    )


def check_bridge(title: str, bridge: "Bridge", colour: int, depth: int) -> None:
    """Raise ValueError unless features of the image stay of their shape."""
    expected = _shapes([colour], [GRID], title)
    _check(
        title,
        bridge,
        lambda empty: [bridge(empty(colour, GRID), empty(depth, GRID), empty(1, GRID))],
        expected,
        "colour keeps its shape",
    )


def _shapes(channels: Sequence[int], strides: Sequence[int], title: str) -> list[list[int]]:
    if len(channels) != len(strides) or not all(type(n) is int and n >= 1 for n in (*channels, *strides)):
        raise ValueError(
            f"{title} has channels {channels} and strides {strides}; expected as many whole numbers of each"
        )
    return [[1, count, *_size(stride)] for count, stride in zip(channels, strides, strict=True)]


def _size(stride: int) -> tuple[int, int]:
    return -(-HEIGHT // stride), -(-WIDTH // stride)


def _check(
    title: str,
    part: nn.Module,
    run: Callable[[Callable[[int, int], Tensor]], object],
    expected: list[list[int]],
    rule: str,
) -> None:
    tensor = next(part.parameters(), torch.zeros(0))
    if tensor.is_meta:  # built for its shape alone
        return

    def empty(channels: int, stride: int) -> Tensor:
        return torch.zeros(1, channels, *_size(stride), device=tensor.device)

    with _evaluating(part):
        try:
            maps = run(empty)
        except Exception as error:  # whatever somebody's code comes to
            raise ValueError(f"{title} fails with an empty image of {HEIGHT}×{WIDTH}: {one_line(error)}") from error
    if not isinstance(maps, list | tuple) or not all(isinstance(each, Tensor) for each in maps):
        raise ValueError(f"{title} returns {_kind(maps)}; expected a list of maps, finest first")
    found = [list(each.shape) for each in maps]
    if found != expected:
        raise ValueError(f"{title} makes {found} of an empty image of {HEIGHT}×{WIDTH}; expected {expected}: {rule}")


def _kind(value: object) -> str:
    return "a tensor" if isinstance(value, Tensor) else type(value).__name__


@contextmanager
def _evaluating(part: nn.Module) -> Iterator[None]:
    """Without gradients and in evaluation mode, so that nothing of it changes."""
    modes = [(module, module.training) for module in part.modules()]
    part.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes:
            module.training = mode
