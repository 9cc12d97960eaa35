"""Backbones by name: image in, feature pyramid out.

>>> from segkit import backbones
>>> backbones.create("swin_tiny", in_channels=1).strides
(4, 8, 16, 32)
"""

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segkit.parts import checked_options, unknown_name

if TYPE_CHECKING:  # importing this package stays cheap; torch comes with the first backbone
    from torch import Tensor

    from segkit.backbones.backbone import Backbone
    from segkit.backbones.weights import Fold

__all__ = ["create", "names"]


@dataclass(frozen=True)
class _Entry:
    """What a name stands for: the class, its options' values, and torchvision's weights for it.

    ``fetches``: the class gets its library's weights by itself, told so by ``pretrained=True``.
    ``of_others``: it makes its parts by ``create``, so it is told ``fold``.
    """

    module: str
    kind: str
    positional: tuple[str, ...] = ()
    options: Mapping[str, object] = field(default_factory=dict)
    published: str | None = None
    fetches: bool = False
    of_others: bool = False


def _swin(published: str, embed_dim: int, depths: tuple[int, ...], heads: tuple[int, ...], drop_path: float) -> _Entry:
    options = {"embed_dim": embed_dim, "depths": depths, "heads": heads, "drop_path": drop_path}
    return _Entry("swin", "Swin", options=options, published=published)


def _resnet(name: str, published: str) -> _Entry:
    return _Entry("resnet", "ResNet", positional=(name,), published=published)


# For images of 32² and 64²: the coarsest maps are no larger than a window, so it shrinks to fit them.
_SWIN_CIFAR10 = {
    "patch_size": 2,
    "window": 4,
    "embed_dim": 96,
    "depths": (2, 6, 4),
    "heads": (3, 6, 12),
    "mlp_ratio": 2.0,
    "shrink_window": True,
}
_SWIN_TINY_IMAGENET = {"heads": (2, 4, 8, 16), "shrink_window": True}

_ENTRIES = {
    "swin": _Entry("swin", "Swin"),
    "swin_tiny": _swin("Swin_T_Weights", 96, (2, 2, 6, 2), (3, 6, 12, 24), 0.2),
    "swin_small": _swin("Swin_S_Weights", 96, (2, 2, 18, 2), (3, 6, 12, 24), 0.3),
    "swin_base": _swin("Swin_B_Weights", 128, (2, 2, 18, 2), (4, 8, 16, 32), 0.5),
    "swin_large": _swin("timm:swin_large_patch4_window7_224", 192, (2, 2, 18, 2), (6, 12, 24, 48), 0.2),
    "swin_cifar10": _Entry("swin", "Swin", options=_SWIN_CIFAR10),
    "swin_tiny_imagenet": _Entry("swin", "Swin", options=_SWIN_TINY_IMAGENET),
    "resnet18": _resnet("resnet18", "ResNet18_Weights"),
    "resnet34": _resnet("resnet34", "ResNet34_Weights"),
    "resnet50": _resnet("resnet50", "ResNet50_Weights"),
    "resnet101": _resnet("resnet101", "ResNet101_Weights"),
    "resnet152": _resnet("resnet152", "ResNet152_Weights"),
    "alexnet": _Entry("alexnet", "AlexNet", published="AlexNet_Weights"),
    "densenet121": _Entry("densenet", "DenseNet", positional=("densenet121",), published="DenseNet121_Weights"),
    "densenet201": _Entry("densenet", "DenseNet", positional=("densenet201",), published="DenseNet201_Weights"),
    "inception_v3": _Entry("inception", "Inception", published="Inception_V3_Weights"),
    "squeezenet1_1": _Entry("squeezenet", "SqueezeNet", published="SqueezeNet1_1_Weights"),
    "vgg19_bn": _Entry("vgg", "VGG", published="VGG19_BN_Weights"),
    "resdeconv": _Entry("resdeconv", "ResDeconv"),
    "stem": _Entry("stem", "Stem"),
    "joint": _Entry("joint", "joint_of", of_others=True),
}
_LIBRARIES = {"timm": ("from_timm", "FromTimm"), "smp": ("from_smp", "FromSmp")}  # prefix: module, class


def names() -> list[str]:
    """The names of the toolkit's own; ``create`` also takes ``joint``, other libraries' and a class of yours."""
    return [name for name in _ENTRIES if name != "joint"]  # it needs others to be made of


def create(
    name: str,
    *,
    weights: "str | Path | Mapping[str, Tensor] | None" = None,
    in_channels: int = 3,
    levels: Sequence[int] | None = None,
    fold: "Fold | None" = None,
    **options: Any,
) -> "Backbone":
    """The backbone of that name.

    Args:
        name: one of ``names()``; ``timm:NAME`` or ``smp:NAME`` for a network of timm or an encoder of
            segmentation-models-pytorch; or the place of a class of one's own, ``package.module:Class``.
        weights: None for random ones, ``"imagenet"``, a ``.safetensors`` or ``.pth`` file, a state dict, or whatever
            else ``read_weights`` takes; what became of each tensor is in the backbone's ``pretrained``.
        in_channels: channels of the image; weights for another number are folded, see ``fold_channels``.
        fold: another rule for that, such as ``fold_depth``, for an input that isn't a picture. ``"imagenet"`` weights
            are then folded also where they have as many channels; what a file or state dict holds is taken to be for
            the same kind of input where it has as many.
        levels: indices of the pyramid's levels to return, finest first; None returns all.
        options: further keyword arguments of the backbone's class.

    Raises ValueError for an unknown name or option, and for weights that don't fit.
    """
    entry, kind = _find(name)
    own = ":" in name and not entry.fetches
    parameters = inspect.signature(kind).parameters
    common: dict[str, Any] = {"in_channels": in_channels}
    if levels is not None:
        common["levels"] = levels
    title = f"backbone '{name}'"
    given = list(parameters)[: len(entry.positional)]
    given += ["pretrained"] if entry.fetches else []  # said by weights="imagenet"
    given += ["fold"] if entry.of_others else []
    if own and not any(p.name == "in_channels" or p.kind is p.VAR_KEYWORD for p in parameters.values()):
        raise ValueError(f"{title} takes no in_channels; every backbone's constructor is given it")
    also = ("weights", *(option for option in ("in_channels", "levels") if option in parameters))
    options = checked_options(title, kind, {**common, **options}, given=given, also=also)
    if entry.of_others:
        options["fold"] = fold
    published = _is_published(weights)
    if entry.fetches and isinstance(weights, str) and weights == "imagenet":
        weights = None
        if fold is None:
            options["pretrained"] = True
        else:  # the libraries fold by rules of their own, so they are asked for pictures' weights
            for_pictures: Backbone = kind(*entry.positional, **{**options, "in_channels": 3, "pretrained": True})
            weights = for_pictures.state_dict()
    backbone: Backbone = kind(*entry.positional, **{**entry.options, **options})
    if not (hasattr(backbone, "channels") and hasattr(backbone, "strides")):
        raise ValueError(f"backbone '{name}' says nothing of its levels; set self.channels and self.strides")
    if own:
        from segkit.own_check import check_backbone

        check_backbone(title, backbone, in_channels)
    if weights is not None:
        from segkit.backbones.weights import load_weights

        load_weights(
            backbone,
            weights,
            name=name,
            published=entry.published,
            fold=fold,
            of_pictures=published and fold is not None,
        )
    return backbone


def _is_published(weights: object) -> bool:
    """Whether weights are named as a library publishes them, which are of pictures; files may be of anything."""
    named = isinstance(weights, str) and (
        weights == "imagenet" or weights.startswith("timm:") or re.fullmatch(r"\w+_Weights\.\w+", weights) is not None
    )
    return named or isinstance(weights, Enum)


def _find(name: str) -> "tuple[_Entry, Callable[..., Backbone]]":
    """What a name stands for, and its class; ValueError with the nearest name where there is none."""
    prefix, colon, rest = name.partition(":") if isinstance(name, str) else ("", "", "")
    prefix = prefix.lower() if prefix.lower() in _LIBRARIES else prefix
    if colon and prefix not in _LIBRARIES:
        from segkit.backbones.backbone import Backbone
        from segkit.own_class import own_class

        return _Entry(prefix, rest), own_class(name, Backbone)
    if colon:
        entry = _Entry(*_LIBRARIES[prefix], positional=(rest,), fetches=True)
    elif name in _ENTRIES:
        entry = _ENTRIES[name]
    else:
        if isinstance(name, str) and import_module("timm").is_model(name):
            raise ValueError(f"no backbone is called '{name}' here, but timm has it: write 'timm:{name}'")
        raise ValueError(
            unknown_name("backbone", name, _ENTRIES, "timm:NAME, smp:NAME, and yours as package.module:Class")
        )
    kind: Callable[..., Backbone] = getattr(import_module(f"segkit.backbones.{entry.module}"), entry.kind)
    return entry, kind
