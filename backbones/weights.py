"""Pretrained weights put into a backbone, with an account of every tensor.

Which tensor is which is the backbone's own knowledge: ``Backbone.own_names`` and ``Backbone.refit``.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from segkit.backbones.backbone import Backbone
from segkit.backbones.weight_sources import Source, read_weights

Fold = Callable[[Tensor, int], Tensor]
"""Makes a convolution's weight [out, in, h, w] one for another number of input channels, as :func:`fold_channels`."""

PREFIXES = ("module.", "_orig_mod.", "model.", "encoder.", "backbone.")
"""What larger models put before a backbone's names, one before the other: parallel training, ``torch.compile``,
Lightning, segmenters of other libraries and of this one, where a stem makes it two."""


@dataclass(frozen=True)
class WeightReport:
    """What became of each tensor when a backbone was given weights; ``str`` makes one line of it.

    Attributes:
        loaded: the backbone's tensors that were taken as they were found.
        interpolated: taken after a change of their grid's size, see ``Backbone.refit``.
        folded: taken after a change of the image's channels, see ``fold_channels`` and ``fold_depth``.
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


def load_weights(
    backbone: Backbone,
    weights: Source,
    *,
    name: str | None = None,
    published: str | None = None,
    fold: Fold | None = None,
    of_pictures: bool = False,
) -> WeightReport:
    """Fill a backbone with weights, in place, and say what became of each tensor; also in ``backbone.pretrained``.

    Args:
        backbone: what to fill; each of its tensors must be found, except those it calls ``unpublished``. Stages that it
            was built without (``levels=``) are skipped.
        weights: see ``read_weights``; named as this backbone's own, or in a layout that its ``own_names`` knows.
        name: what errors call the backbone.
        published: what ``"imagenet"`` stands for: torchvision's weights class, or ``timm:NAME``.
        fold: how weights for another number of channels are made the backbone's; None means ``fold_channels``.
        of_pictures: the weights are for pictures and the backbone for something else, so they are folded also where
            both have as many channels.

    Raises ValueError listing what is missing, unknown, of another shape or no numbers; then nothing was changed.
    """
    own = backbone.state_dict()
    state = read_weights(weights, published=published)
    needed = {key for key in own if not _is_spare(key, backbone)}
    part = _without_prefixes(state, own)
    if part is not state and needed <= backbone.own_names(state).keys():  # a name of its own, then
        part = state
    given = backbone.own_names(part)
    entrances = _entrances(backbone, given, of_pictures)

    taken: dict[str, Tensor] = {}
    folded, interpolated = [], []
    for key in own:
        if key not in given:
            continue
        taken[key] = tensor = given[key]
        if tensor.is_meta:
            raise ValueError(f"weights: {key} is on meta; expected a tensor of plain values")
        if not tensor.numel():  # fits only what is empty itself
            continue
        if key in entrances:
            taken[key] = (fold or fold_channels)(tensor, own[key].shape[1])
            folded.append(key)
        elif tensor.shape == own[key].shape:
            continue
        else:
            taken[key] = backbone.refit(key, tensor)
            interpolated.append(key)

    missing = [key for key in own if key not in taken and not _is_spare(key, backbone)]
    unknown = [key for key in given if key not in own and not _is_of_unbuilt_stage(key, backbone)]
    misfits = [
        f"{key}: found {tuple(given[key].shape)}, needed {tuple(own[key].shape)}"
        for key, tensor in taken.items()
        if tensor.shape != own[key].shape
    ]
    senseless = [key for key, tensor in taken.items() if not _makes_sense(tensor, own[key])]
    variances = [key for key in taken if key.endswith("running_var") and key not in senseless]
    negative = [key for key in variances if bool((taken[key] < 0).any())]
    problems = [
        f"{what}: {_listed(keys)}"
        for what, keys in (
            ("missing", missing),
            ("unknown", unknown),
            ("of another shape", misfits),
            ("not finite, or not fractions", senseless),
            ("negative variances", negative),
        )
        if keys
    ]
    if problems:
        where = f"{weights}: " if isinstance(weights, str | Path) else ""
        hint = _hint(backbone, part, needed) if missing else ""
        fits = f"the weights don't fit '{name or type(backbone).__name__}'"
        raise ValueError(f"{where}{fits}; {'; '.join(problems)}{hint}")
    backbone.load_state_dict(taken, strict=False)

    used = {id(given[key]) for key in taken}
    backbone.pretrained = WeightReport(
        loaded=tuple(key for key in taken if key not in folded and key not in interpolated),
        interpolated=tuple(interpolated),
        folded=tuple(folded),
        random=tuple(key for key in own if key not in taken and key.startswith(backbone.unpublished)),
        unused=tuple(key for key, tensor in state.items() if id(tensor) not in used),
    )
    return backbone.pretrained


def fold_channels(weight: Tensor, channels: int) -> Tensor:
    """A convolution's weight [out, in, h, w] for another number of input channels: [out, channels, h, w].

    New channels take the old ones in turn, over and over (RGB → RGBRG). An old one that several take is shared out
    evenly among them, and a new one that several fall to gets their sum. So an image of equal channels answers as
    before: grey as the same grey shown in all of the old channels.
    """
    old = weight.shape[1]
    if channels == old:
        return weight
    if channels < old:
        return torch.stack([weight[:, i::channels].sum(dim=1) for i in range(channels)], dim=1)
    copies = [len(range(i % old, channels, old)) for i in range(channels)]
    return weight[:, [i % old for i in range(channels)]] / weight.new_tensor(copies).view(1, -1, 1, 1)


def fold_depth(weight: Tensor, channels: int) -> Tensor:
    """A convolution's weight [out, in, h, w] for values and their validity, the last channel: [out, channels, h, w].

    The old kernels are summed over their inputs. Each channel of values gets the sum divided by the number of them, the
    validity gets zeros. So an image of equal values answers as the same grey shown in all of the old channels, wherever
    it is measured. Of one channel of values that is ``fold_channels``, of several no one is taken for red.

    Raises ValueError for fewer than two channels.
    """
    if channels < 2:
        raise ValueError(f"{channels} channel can't hold values and their validity; expected 2 or more")
    values = fold_channels(weight.sum(dim=1, keepdim=True), channels - 1)
    return torch.cat([values, torch.zeros_like(values[:, :1])], dim=1)


def fold_stacked(weight: Tensor, channels: int, *, depth: int) -> Tensor:
    """A convolution's weight for an image with ``depth`` further channels behind its own: [out, channels, h, w].

    The image's channels are folded as by ``fold_channels``, the further ones get zeros. So whatever they hold, the
    network answers at first as it does without them.
    """
    image = fold_channels(weight, channels - depth)
    return torch.cat([image, image.new_zeros(len(image), depth, *image.shape[2:])], dim=1)


def take_from_colour(depth: Backbone, colour: Source, *, name: str | None = None) -> WeightReport:
    """Fill a depth backbone, in place, with the weights of a colour backbone of the same architecture.

    All tensors are taken as they are but the first convolution's, which ``fold_depth`` makes one of values and validity
    whatever the colour backbone's number of channels. What became of each is also in ``depth.pretrained``.

    Args:
        depth: of E + 1 channels, the last one validity.
        colour: usually the colour backbone's ``state_dict()``; see ``read_weights``.
        name: what errors call the depth backbone.

    Raises ValueError as ``load_weights``.
    """
    return load_weights(depth, colour, name=name, fold=fold_depth, of_pictures=True)


def _without_prefixes(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """The part of a larger model's state that is the backbone's; all of it where nothing is marked so."""
    foreign = [prefix for prefix in PREFIXES if not any(name.startswith(prefix) for name in own)]
    while found := [prefix for prefix in foreign if any(name.startswith(prefix) for name in state)]:
        state = _behind(found[0], state)
    return state


def _behind(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}


def _hint(backbone: Backbone, state: Mapping[str, Tensor], needed: set[str]) -> str:
    """Which parts of a larger model's state are all that the backbone needs, as a further half of a message."""
    counts = Counter(name[: dot.end()] for name in state for dot in re.finditer(r"\.", name))
    large = [prefix for prefix, count in counts.items() if count >= len(needed)]
    fitting = [repr(prefix) for prefix in large if needed <= backbone.own_names(_behind(prefix, state)).keys()]
    if not fitting:
        return ""
    return f"; found under {' and '.join(fitting[:3])}: give those alone, without that beginning of their names"


def _entrances(backbone: Backbone, given: Mapping[str, Tensor], equal: bool) -> set[str]:
    """Weights of the convolutions that the image enters, where the given ones are for other channels than the own.

    That is the first convolution, and every other one that lacks channels in the same way. With ``equal`` also where
    the given ones are for as many: the first convolution, and every other one of as many channels.
    """
    kernels = {f"{name}.weight": part for name, part in backbone.named_modules() if isinstance(part, nn.Conv2d)}
    shapes = {key: (given[key].shape, kernel.weight.shape) for key, kernel in kernels.items() if key in given}
    first = shapes.get(next(iter(kernels), ""))
    if first is None or len(first[0]) != 4:
        return set()
    change = first[0][1], first[1][1]
    return {
        key
        for key, (theirs, ours) in shapes.items()
        if len(theirs) == 4
        and (equal or theirs != ours)
        and (theirs[1], ours[1]) == change
        and kernels[key].groups == 1
    }


def _makes_sense(given: Tensor, own: Tensor) -> bool:
    """Whether the values are finite as the backbone keeps them, and fractions where fractions are needed."""
    if own.is_floating_point():
        return given.is_floating_point() and bool(given.to(own.dtype).isfinite().all())
    return not given.is_complex()


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
