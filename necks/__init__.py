"""Necks by name: feature pyramid in, fused maps out.

>>> from segkit import necks
>>> necks.create("fpn", channels=(64, 128), strides=(4, 8), width=32).channels
(32, 32, 32)
"""

import inspect
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # importing this package stays cheap; torch comes with the first neck
    from segkit.necks.neck import Neck

__all__ = ["create", "names"]

_NECKS = {  # name: module, class
    "fpn": ("fpn", "FPN"),
    "unet": ("unet", "UNet"),
    "unetplusplus": ("unetplusplus", "UNetPlusPlus"),
    "attention_unet": ("attention_unet", "AttentionUNet"),
    "upernet": ("upernet", "UPerNet"),
    "coarsest": ("coarsest", "Coarsest"),
}


def names() -> list[str]:
    """The names of the toolkit's own; ``create`` also takes a class of yours."""
    return list(_NECKS)


def create(name: str, channels: Sequence[int], strides: Sequence[int], **options: object) -> "Neck":
    """The neck of that name, for a pyramid of these ``channels`` and ``strides``, finest first.

    Args:
        name: one of ``names()``, or the place of a class of one's own, ``package.module:Class``.
        channels: channels of each incoming level.
        strides: stride of each incoming level.
        options: further keyword arguments of the neck's class.

    Raises ValueError for an unknown name, place or option, and for a pyramid that can't be fused.
    """
    kind = _class(name)
    parameters = list(inspect.signature(kind).parameters.values())[2:]
    accepted = [p.name for p in parameters if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)]
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters)  # a class of one's own that looks after them itself
    for option in options:
        if option not in accepted and not open_ended:
            raise ValueError(f"neck '{name}' has no option '{option}'; it takes: {', '.join(accepted) or 'none'}")
    neck: Neck = kind(channels, strides, **options)
    if not (hasattr(neck, "channels") and hasattr(neck, "strides")):
        raise ValueError(f"neck '{name}' says nothing of what it returns; set self.channels and self.strides")
    return neck


def _class(name: str) -> "Callable[..., Neck]":
    if ":" in name:
        from segkit.necks.neck import Neck
        from segkit.own_class import own_class

        return own_class(name, Neck)
    if name not in _NECKS:
        nearest = get_close_matches(name, _NECKS, n=1, cutoff=0)[0]
        raise ValueError(
            f"no neck is called '{name}'; did you mean '{nearest}'? All: {', '.join(_NECKS)}, "
            "and yours as package.module:Class"
        )
    module, class_name = _NECKS[name]
    kind: Callable[..., Neck] = getattr(import_module(f"segkit.necks.{module}"), class_name)
    return kind
