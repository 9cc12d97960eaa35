"""Heads by name: fused maps in, logits out.

>>> from segkit import heads
>>> heads.create("upsample", channels=64, stride=4, classes=2).classify.out_channels
2
"""

import inspect
from collections.abc import Callable
from difflib import get_close_matches
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # importing this package stays cheap; torch comes with the first head
    from segkit.heads.head import Head

__all__ = ["create", "names"]

_HEADS = {  # name: module, class
    "upsample": ("upsample", "UpsampleHead"),
    "transposed": ("transposed", "TransposedHead"),
    "pixelshuffle": ("pixelshuffle", "PixelShuffleHead"),
    "linear": ("linear", "LinearHead"),
}


def names() -> list[str]:
    """The names of the toolkit's own; ``create`` also takes a class of yours."""
    return list(_HEADS)


def create(name: str, channels: int, stride: int, classes: int, **options: object) -> "Head":
    """The head of that name, for a map of these ``channels`` at this ``stride``.

    Args:
        name: one of ``names()``, or the place of a class of one's own, ``package.module:Class``.
        channels: channels of the map, the neck's ``channels[0]``.
        stride: stride of the map, the neck's ``strides[0]``.
        classes: number of logit maps.
        options: further keyword arguments of the head's class.

    Raises ValueError for an unknown name, place or option.
    """
    kind = _class(name)
    parameters = list(inspect.signature(kind).parameters.values())[3:]
    accepted = [p.name for p in parameters if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)]
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters)  # a class of one's own that looks after them itself
    for option in options:
        if option not in accepted and not open_ended:
            raise ValueError(f"head '{name}' has no option '{option}'; it takes: {', '.join(accepted) or 'none'}")
    head: Head = kind(channels, stride, classes, **options)
    return head


def _class(name: str) -> "Callable[..., Head]":
    if ":" in name:
        from segkit.heads.head import Head
        from segkit.own_class import own_class

        return own_class(name, Head)
    if name not in _HEADS:
        nearest = get_close_matches(name, _HEADS, n=1, cutoff=0)[0]
        raise ValueError(
            f"no head is called '{name}'; did you mean '{nearest}'? All: {', '.join(_HEADS)}, "
            "and yours as package.module:Class"
        )
    module, class_name = _HEADS[name]
    kind: Callable[..., Head] = getattr(import_module(f"segkit.heads.{module}"), class_name)
    return kind
