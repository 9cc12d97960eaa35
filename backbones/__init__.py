"""Backbones by name: image in, feature pyramid out.

>>> from segkit import backbones
>>> backbones.create("swin_tiny", in_channels=1).strides
(4, 8, 16, 32)
"""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # importing this package stays cheap; torch comes with the first backbone
    from torch import Tensor

    from segkit.backbones.backbone import Backbone

__all__ = ["create", "names"]


@dataclass(frozen=True)
class _Entry:
    """What a name stands for: the class, its options' values, and torchvision's weights for it."""

    module: str
    kind: str
    positional: tuple[str, ...] = ()
    options: Mapping[str, object] = field(default_factory=dict)
    published: str | None = None


def _swin(published: str, embed_dim: int, depths: tuple[int, ...], heads: tuple[int, ...], drop_path: float) -> _Entry:
    options = {"embed_dim": embed_dim, "depths": depths, "heads": heads, "drop_path": drop_path}
    return _Entry("swin", "Swin", options=options, published=published)


def _resnet(name: str, published: str) -> _Entry:
    return _Entry("resnet", "ResNet", positional=(name,), published=published)


_ENTRIES = {
    "swin": _Entry("swin", "Swin"),
    "swin_tiny": _swin("Swin_T_Weights", 96, (2, 2, 6, 2), (3, 6, 12, 24), 0.2),
    "swin_small": _swin("Swin_S_Weights", 96, (2, 2, 18, 2), (3, 6, 12, 24), 0.3),
    "swin_base": _swin("Swin_B_Weights", 128, (2, 2, 18, 2), (4, 8, 16, 32), 0.5),
    "resnet18": _resnet("resnet18", "ResNet18_Weights"),
    "resnet34": _resnet("resnet34", "ResNet34_Weights"),
    "resnet50": _resnet("resnet50", "ResNet50_Weights"),
    "resnet101": _resnet("resnet101", "ResNet101_Weights"),
    "resnet152": _resnet("resnet152", "ResNet152_Weights"),
    "stem": _Entry("stem", "Stem"),
}


def names() -> list[str]:
    """Every name that ``create`` knows."""
    return list(_ENTRIES)


def create(
    name: str,
    *,
    weights: "str | Path | Mapping[str, Tensor] | None" = None,
    in_channels: int = 3,
    levels: Sequence[int] | None = None,
    **options: object,
) -> "Backbone":
    """The backbone of that name.

    Args:
        name: one of ``names()``.
        weights: None for random ones, ``"imagenet"``, a ``.safetensors`` or ``.pth`` file, or a state dict.
        in_channels: channels of the image; weights for another number are folded, see ``fold_channels``.
        levels: indices of the pyramid's levels to return, finest first; None returns all.
        options: further keyword arguments of the backbone's class.

    Raises ValueError for an unknown name or option, and for weights that don't fit.
    """
    if name not in _ENTRIES:
        nearest = get_close_matches(name, _ENTRIES, n=1, cutoff=0)[0]
        raise ValueError(f"no backbone is called '{name}'; did you mean '{nearest}'? All: {', '.join(_ENTRIES)}")
    entry = _ENTRIES[name]
    kind = getattr(import_module(f"segkit.backbones.{entry.module}"), entry.kind)
    keywords = [p.name for p in inspect.signature(kind).parameters.values() if p.kind is p.KEYWORD_ONLY]
    accepted = [keyword for keyword in keywords if keyword not in ("in_channels", "levels")]
    for option in options:
        if option not in accepted:
            raise ValueError(f"backbone '{name}' has no option '{option}'; it takes: {', '.join(accepted) or 'none'}")
    backbone: Backbone = kind(*entry.positional, in_channels=in_channels, levels=levels, **{**entry.options, **options})
    if weights is not None:
        from segkit.backbones.weights import load_weights

        load_weights(backbone, weights, published=entry.published)
    return backbone
