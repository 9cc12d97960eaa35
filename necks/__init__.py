"""Necks by name: feature pyramid in, fused maps out.

>>> from segkit import necks
>>> necks.create("fpn", channels=(64, 128), strides=(4, 8), width=32).channels
(32, 32, 32)
"""

import inspect
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # importing this package stays cheap; torch comes with the first neck
    from segkit.necks.neck import Neck

__all__ = ["create", "names"]

_NECKS = {"fpn": ("fpn", "FPN"), "unet": ("unet", "UNet")}  # name: module, class


def names() -> list[str]:
    """Every name that ``create`` knows."""
    return list(_NECKS)


def create(name: str, channels: Sequence[int], strides: Sequence[int], **options: object) -> "Neck":
    """The neck of that name, for a pyramid of these ``channels`` and ``strides``, finest first.

    Args:
        name: one of ``names()``.
        channels: channels of each incoming level.
        strides: stride of each incoming level.
        options: further keyword arguments of the neck's class.

    Raises ValueError for an unknown name or option, and for a pyramid that can't be fused.
    """
    if name not in _NECKS:
        nearest = get_close_matches(name, _NECKS, n=1, cutoff=0)[0]
        raise ValueError(f"no neck is called '{name}'; did you mean '{nearest}'? All: {', '.join(_NECKS)}")
    module, kind_name = _NECKS[name]
    kind = getattr(import_module(f"segkit.necks.{module}"), kind_name)
    accepted = [p.name for p in inspect.signature(kind).parameters.values() if p.kind is p.KEYWORD_ONLY]
    for option in options:
        if option not in accepted:
            raise ValueError(f"neck '{name}' has no option '{option}'; it takes: {', '.join(accepted) or 'none'}")
    neck: Neck = kind(channels, strides, **options)
    return neck
