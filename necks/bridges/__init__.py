"""Bridges by name: features of colour and of a second modality in, features of colour out.

>>> from segkit.necks import bridges
>>> bridges.create("gated", colour=256, depth=64).last.out_channels
256
"""

from typing import TYPE_CHECKING, Any

from segkit.parts import checked_options, find_class

if TYPE_CHECKING:  # importing this package stays cheap; torch comes with the first bridge
    from segkit.necks.bridges.bridge import Bridge

__all__ = ["coarsest", "create", "names"]

_BRIDGES = {  # name: module:Class
    "concat": "concat:ConcatBridge",
    "se": "se:SEBridge",
    "gated": "gated:GatedBridge",
    "attention": "attention:AttentionBridge",
}


def names() -> list[str]:
    """The names of the toolkit's own; ``create`` also takes a class of yours."""
    return list(_BRIDGES)


def create(name: str, *, colour: int, depth: int, **options: Any) -> "Bridge":
    """The bridge of that name, for one level of a pyramid.

    Args:
        name: one of ``names()``, or the place of a class of one's own, ``package.module:Class``.
        colour: channels of the colour features.
        depth: channels of the features of the second modality.
        options: further keyword arguments of the bridge's class.

    Raises ValueError for an unknown name, place or option.
    """
    kind = find_class("bridge", name, _BRIDGES, "segkit.necks.bridges")
    options = checked_options(f"bridge '{name}'", kind, options, given=("colour", "depth"))
    bridge: Bridge = kind(colour, depth, **options)
    if ":" in name:
        from segkit.own_check import check_bridge

        check_bridge(f"bridge '{name}'", bridge, colour, depth)
    return bridge


def coarsest(name: str) -> int | None:
    """On how many of the coarsest levels the bridge of that name is used unless told otherwise; None means all.

    Raises ValueError for an unknown name or place.
    """
    count: int | None = getattr(find_class("bridge", name, _BRIDGES, "segkit.necks.bridges"), "coarsest", None)
    return count
