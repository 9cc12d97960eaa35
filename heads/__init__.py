"""Heads by name: fused maps in, logits out.

>>> from segkit import heads
>>> heads.create("upsample", channels=64, stride=4, classes=2).classify.out_channels
2
"""

from typing import TYPE_CHECKING, Any

from segkit.parts import checked_options, find_class

if TYPE_CHECKING:  # importing this package stays cheap; torch comes with the first head
    from segkit.heads.head import Head

__all__ = ["create", "names"]

_HEADS = {  # name: module:Class
    "upsample": "upsample:UpsampleHead",
    "transposed": "transposed:TransposedHead",
    "pixelshuffle": "pixelshuffle:PixelShuffleHead",
    "linear": "linear:LinearHead",
}


def names() -> list[str]:
    """The names of the toolkit's own; ``create`` also takes a class of yours."""
    return list(_HEADS)


def create(name: str, channels: int, stride: int, classes: int, **options: Any) -> "Head":
    """The head of that name, for a map of these ``channels`` at this ``stride``.

    Args:
        name: one of ``names()``, or the place of a class of one's own, ``package.module:Class``.
        channels: channels of the map, the neck's ``channels[0]``.
        stride: stride of the map, the neck's ``strides[0]``.
        classes: number of logit maps.
        options: further keyword arguments of the head's class.

    Raises ValueError for an unknown name, place or option.
    """
    kind = find_class("head", name, _HEADS, "segkit.heads")
    options = checked_options(f"head '{name}'", kind, options, given=("channels", "stride", "classes"))
    head: Head = kind(channels, stride, classes, **options)
    if ":" in name:
        from segkit.own_check import check_head

        check_head(f"head '{name}'", head, channels, stride, classes)
    return head
