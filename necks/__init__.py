"""Necks by name: feature pyramid in, fused maps out.

>>> from segkit import necks
>>> necks.create("fpn", channels=(64, 128), strides=(4, 8), width=32).channels
(32, 32, 32)
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from segkit.parts import checked_options, find_class

if TYPE_CHECKING:  # importing this package stays cheap; torch comes with the first neck
    from segkit.necks.neck import Neck

__all__ = ["create", "names"]

_NECKS = {  # name: module:Class
    "fpn": "fpn:FPN",
    "unet": "unet:UNet",
    "unetplusplus": "unetplusplus:UNetPlusPlus",
    "attention_unet": "attention_unet:AttentionUNet",
    "upernet": "upernet:UPerNet",
    "coarsest": "coarsest:Coarsest",
}


def names() -> list[str]:
    """The names of the toolkit's own; ``create`` also takes a class of yours."""
    return list(_NECKS)


def create(name: str, channels: Sequence[int], strides: Sequence[int], **options: Any) -> "Neck":
    """The neck of that name, for a pyramid of these ``channels`` and ``strides``, finest first.

    Args:
        name: one of ``names()``, or the place of a class of one's own, ``package.module:Class``.
        channels: channels of each incoming level.
        strides: stride of each incoming level.
        options: further keyword arguments of the neck's class.

    Raises ValueError for an unknown name, place or option, and for a pyramid that can't be fused.
    """
    kind = find_class("neck", name, _NECKS, "segkit.necks")
    options = checked_options(f"neck '{name}'", kind, options, given=("channels", "strides"))
    neck: Neck = kind(channels, strides, **options)
    if not (hasattr(neck, "channels") and hasattr(neck, "strides")):
        raise ValueError(f"neck '{name}' says nothing of what it returns; set self.channels and self.strides")
    if ":" in name:
        from segkit.own_check import check_neck

        check_neck(f"neck '{name}'", neck, channels, strides)
    return neck
