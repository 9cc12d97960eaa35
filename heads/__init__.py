"""Heads by name: fused maps in, logits out.

>>> from segkit import heads
>>> heads.create("upsample", channels=64, stride=4, classes=2).classify.out_channels
2
"""

import inspect
from difflib import get_close_matches
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # importing this package stays cheap; torch comes with the first head
    from segkit.heads.head import Head

__all__ = ["create", "names"]

_HEADS = {"upsample": ("upsample", "UpsampleHead")}  # name: module, class


def names() -> list[str]:
    """Every name that ``create`` knows."""
    return list(_HEADS)


def create(name: str, channels: int, stride: int, classes: int, **options: object) -> "Head":
    """The head of that name, for a map of these ``channels`` at this ``stride``.

    Args:
        name: one of ``names()``.
        channels: channels of the map, the neck's ``channels[0]``.
        stride: stride of the map, the neck's ``strides[0]``.
        classes: number of logit maps.
        options: further keyword arguments of the head's class.

    Raises ValueError for an unknown name or option.
    """
    if name not in _HEADS:
        nearest = get_close_matches(name, _HEADS, n=1, cutoff=0)[0]
        raise ValueError(f"no head is called '{name}'; did you mean '{nearest}'? All: {', '.join(_HEADS)}")
    module, kind_name = _HEADS[name]
    kind = getattr(import_module(f"segkit.heads.{module}"), kind_name)
    accepted = [p.name for p in inspect.signature(kind).parameters.values() if p.kind is p.KEYWORD_ONLY]
    for option in options:
        if option not in accepted:
            raise ValueError(f"head '{name}' has no option '{option}'; it takes: {', '.join(accepted) or 'none'}")
    head: Head = kind(channels, stride, classes, **options)
    return head
