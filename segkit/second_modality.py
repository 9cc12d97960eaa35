"""A second modality in a model: its encoding, its own backbone, and the bridges from that to the image's backbone."""

from collections.abc import Mapping
from typing import Any

from segkit import backbones
from segkit.backbones.backbone import Backbone
from segkit.backbones.bridged import Bridged, bridged_levels, nearest_level
from segkit.backbones.weights import fold_depth, take_from_colour
from segkit.data.depth_encoding import DepthEncoding
from segkit.data.depth_format import DepthFormat
from segkit.model_arguments import Named, naming, part, without_weights
from segkit.necks import bridges
from segkit.parts import checked_options

COLOUR = "colour"
"""Weights of a depth backbone that are those of the image's backbone."""


def usual_encoding(metric: bool) -> str:
    """What is made of depth where nobody says."""
    return "metres" if metric else "plain"


def encoding_of(named: Mapping[str, Any] | None, depth_format: DepthFormat, channels: int) -> DepthEncoding:
    """The encoding of that name and options, of so many channels; by default metres, or plain where they aren't metric.

    Raises UsageError for an unknown name, option or value, and where metres are asked of what isn't metric.
    """
    options: dict[str, Any] = {"name": usual_encoding(depth_format.metric)} if named is None else dict(named)
    kind: Any = options.pop("name")
    with naming("encoding"):
        if kind != "plain" and not depth_format.metric:
            raise ValueError(f"encoding '{kind}' is of metres, but depth is {depth_format.unit}; take plain")
        if channels != 1 and "mean" not in options:
            options = {"mean": [0.0] * channels, "std": [1.0] * channels, **options}
        options = checked_options(f"encoding '{kind}'", DepthEncoding, options, given=("kind", "channels"))
        return DepthEncoding(kind, channels=channels, **options)


def bridged(colour: Backbone, depth: Mapping[str, Any], bridge: Mapping[str, Any], *, channels: int) -> Bridged:
    """A backbone of the image with one of the second modality beside it.

    Args:
        colour: of the image.
        depth: name and options of the other; the weights ``colour`` are those of the first.
        bridge: name and options; ``levels`` are indices of the colour backbone's levels, by default those whose stride
            both have.
        channels: of the encoded second modality, validity among them.

    Raises UsageError for an unknown name, option or level, and for weights that don't fit.
    """
    own, options = dict(depth), dict(bridge)
    weights = own.pop("weights", None)
    given = None if weights == COLOUR else weights
    with naming("depth"):
        branch = backbones.create(**own, weights=given, in_channels=channels, fold=fold_depth)
    with naming("bridge"):
        name, levels = options.pop("name"), options.pop("levels", None)
        chosen = bridged_levels(colour.strides, branch.strides, levels=levels, coarsest=bridges.coarsest(name))
        made = [
            bridges.create(
                name,
                colour=colour.channels[i],
                depth=branch.channels[nearest_level(stride, branch.strides)],
                **options,
            )
            if i in chosen
            else None
            for i, stride in enumerate(colour.strides)
        ]
    with naming("depth"):
        found = Bridged(colour, branch, made)
        if weights == COLOUR:
            depth_from_colour(found)
    return found


def depth_from_colour(backbone: Backbone) -> None:
    """Give the depth backbone the weights of the image's, the first layer summed over the image's channels.

    Raises ValueError where the image has several backbones, or one of another kind.
    """
    if not isinstance(backbone, Bridged) or len(backbone.colour.trunks) != 1:
        raise ValueError("weights 'colour': the image has several backbones; name a file with the weights of one")
    take_from_colour(backbone.depth, backbone.colour.trunks[0].state_dict(), name="depth")


def shape_of(depth: Named | None, bridge: Named, encoding: DepthEncoding | None) -> dict[str, Any]:
    """What of the architecture is there for a second modality alone."""
    if depth is None or encoding is None:
        return {}
    return {"depth": without_weights(part(depth)), "bridge": part(bridge), "encoding": encoding.options()}
