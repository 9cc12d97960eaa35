"""Pretrained weights put into a backbone, with an account of every tensor.

Which tensor is which is the backbone's own knowledge: ``Backbone.own_names`` and ``Backbone.refit``.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from segkit.backbones.backbone import Backbone
from segkit.backbones.weight_sources import Source, read_weights

PREFIXES = ("module.", "backbone.", "backbone.")  # of parallel training; of a segmenter's backbone, and behind a stem


@dataclass(frozen=True)
class WeightReport:
    """What became of each tensor when a backbone was given weights; ``str`` makes one line of it.

    Attributes:
        loaded: the backbone's tensors that were taken as they were found.
        interpolated: taken after a change of their grid's size, see ``Backbone.refit``.
        folded: taken after a change of the image's channels, see ``fold_channels``.
        random: left as they were, since published weights don't have them.
        unused: tensors that the weights hold beyond these, by the names they have there.
    """

    loaded: tuple[str, ...]
    interpolated: tuple[str, ...]
    folded: tuple[str, ...]
    random: tuple[str, ...]
    unused: tuple[str, ...]

    def __str__(self) -> str:
        named = (
            (self.interpolated, "interpolated"),
            (self.folded, "folded to other channels"),
            (self.random, "left at random"),
            (self.unused, "not used"),
        )
        rest = [f"{len(names)} {what} ({_listed(names, most=2)})" for names, what in named if names]
        return ", ".join([f"{len(self.loaded)} tensors loaded as they are", *rest])


def load_weights(backbone: Backbone, weights: Source, *, published: str | None = None) -> WeightReport:
    """Fill a backbone with weights, in place, and say what became of each tensor; also in ``backbone.pretrained``.

    Args:
        backbone: what to fill; each of its tensors must be found, except those it calls ``unpublished``. Stages that it
            was built without (``levels=``) are skipped.
        weights: see ``read_weights``; named as this backbone's own, or in a layout that its ``own_names`` knows.
        published: what ``"imagenet"`` stands for: torchvision's weights class, or ``timm:NAME``.

    Raises ValueError listing what is missing, unknown or of another shape; then nothing was changed.
    """
    own = backbone.state_dict()
    state = read_weights(weights, published=published)
    given = backbone.own_names(_without_prefixes(state, own))
    first = next((f"{name}.weight" for name, part in backbone.named_modules() if isinstance(part, nn.Conv2d)), None)

    taken: dict[str, Tensor] = {}
    folded, interpolated = [], []
    for name in own:
        if name not in given:
            continue
        taken[name] = tensor = given[name]
        if tensor.shape == own[name].shape:
            continue
        if name == first and tensor.ndim == 4:
            taken[name] = fold_channels(tensor, own[name].shape[1])
            folded.append(name)
        else:
            taken[name] = backbone.refit(name, tensor)
            interpolated.append(name)

    missing = [name for name in own if name not in taken and not _is_spare(name, backbone)]
    unknown = [name for name in given if name not in own and not _is_of_unbuilt_stage(name, backbone)]
    misfits = [
        f"{name}: found {tuple(given[name].shape)}, needed {tuple(own[name].shape)}"
        for name, tensor in taken.items()
        if tensor.shape != own[name].shape
    ]
    problems = [
        f"{what}: {_listed(names)}"
        for what, names in (("missing", missing), ("unknown", unknown), ("of another shape", misfits))
        if names
    ]
    if problems:
        raise ValueError(f"the weights don't fit {type(backbone).__name__}; " + "; ".join(problems))
    backbone.load_state_dict(taken, strict=False)

    used = {id(given[name]) for name in taken}
    backbone.pretrained = WeightReport(
        loaded=tuple(name for name in taken if name not in folded and name not in interpolated),
        interpolated=tuple(interpolated),
        folded=tuple(folded),
        random=tuple(name for name in own if name not in taken and name.startswith(backbone.unpublished)),
        unused=tuple(name for name, tensor in state.items() if id(tensor) not in used),
    )
    return backbone.pretrained


def fold_channels(weight: Tensor, channels: int) -> Tensor:
    """A convolution's weight [out, in, h, w] for another number of input channels: [out, channels, h, w].

    One channel gets the sum, so that grey answers as the same grey shown in all of the old channels. More channels
    get the old ones over and over (RGB → RGBR…), scaled by in/channels, so that a flat image answers as before.
    """
    old = weight.shape[1]
    if channels == old:
        return weight
    if channels == 1:
        return weight.sum(dim=1, keepdim=True)
    return weight[:, [i % old for i in range(channels)]] * (old / channels)


def _without_prefixes(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """The part of a larger model's state that is the backbone's; all of it where nothing is marked so."""
    for prefix in PREFIXES:
        if not any(name.startswith(prefix) for name in own):
            part = {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
            state = part or state
    return state


def _is_spare(name: str, backbone: Backbone) -> bool:
    """Whether published weights may lack this tensor; older files don't have BatchNorm's count of batches."""
    return name.startswith(backbone.unpublished) or name.endswith("num_batches_tracked")


def _is_of_unbuilt_stage(name: str, backbone: Backbone) -> bool:
    """Whether a tensor belongs to a place beyond the end of one of the backbone's own lists of layers."""
    place = re.match(r"(\w+)\.(\d+)\.", name)
    layers = getattr(backbone, place[1], None) if place else None
    return place is not None and isinstance(layers, nn.ModuleList) and int(place[2]) >= len(layers)


def _listed(names: Sequence[str], most: int = 6) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
