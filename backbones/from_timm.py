"""Any network of timm that has a pyramid, as a backbone: ``timm:convnext_tiny``."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from difflib import get_close_matches
from typing import Any

import timm
from torch import Tensor, nn

from segkit.backbones.backbone import select_levels
from segkit.backbones.foreign import Foreign, Trial, watch
from segkit.backbones.hub import one_attempt
from segkit.backbones.swin_layouts import DERIVED, resample_bias
from segkit.one_line import one_line

# Set by this module alone. A saved model names options too, and must not choose what is downloaded or read from disk.
RESERVED = (
    *("pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path", "cache_dir"),
    *("in_chans", "features_only", "feature_cls", "feature_cfg", "out_indices", "out_map", "scriptable"),
)

# How timm's networks are told to take any size, most telling first; a network that knows none of them needs none, or
# has one size.
ANY_SIZE: tuple[dict[str, object], ...] = ({"strict_img_size": False}, {"dynamic_img_size": True}, {})


class FromTimm(Foreign):
    """The pyramid of timm's network of that name, made by ``timm.create_model(name, features_only=True)``.

    Images of any size are filled up with zeros to what the network needs; see ``Foreign``. A network of one size takes
    images up to that size: set it with ``img_size``.

    Args:
        name: timm's name of the network, with or without the tag of its weights, ``resnet50.a1_in1k``.
        in_channels: channels of the image.
        levels: indices of the levels to return; None returns all. Layers coarser than the last one are not kept.
        pretrained: start from the weights that timm publishes, which are downloaded.
        options: further keyword arguments of the network, such as ``img_size`` or ``drop_path_rate``.

    Raises ValueError for an unknown name or option, for a network without a pyramid, and for weights out of reach.
    """

    def __init__(
        self,
        name: str,
        *,
        in_channels: int = 3,
        levels: Sequence[int] | None = None,
        pretrained: bool = False,
        **options: Any,
    ) -> None:
        title = f"timm:{name}"
        if not timm.is_model(name):
            nearest = get_close_matches(name, timm.list_models(), n=3, cutoff=0)
            raise ValueError(f"timm has no network called '{name}'; near it: {', '.join(nearest)}")

        for option in RESERVED:
            if option in options:
                raise ValueError(f"'{title}' has no option '{option}'; it takes what shapes the network, as img_size")
        size = options.get("img_size", 1)
        sides = [size, size] if isinstance(size, int) else size
        if not isinstance(sides, list | tuple) or len(sides) != 2 or not all(type(n) is int and n >= 1 for n in sides):
            raise ValueError(f"'{title}': img_size is {size!r}; expected a whole number, or [height, width]")
        settings = {"in_chans": in_channels, "pretrained": pretrained, **options}
        network = _build(title, name, settings)
        channels_last = getattr(network, "output_fmt", None) == "NHWC"
        published = getattr(timm.get_pretrained_cfg(name), "input_size", (3, 224, 224))
        info: Any = network.feature_info
        trials = _trials(max(info.reduction()), options.get("img_size", published[1:]))
        behaviour = watch(title, network, trials, in_channels=in_channels, channels_last=channels_last)
        if levels is not None:  # which of timm's maps they are is known only now; built again, it ends at the last one
            chosen = select_levels(levels, len(behaviour.levels))
            indices = [info.out_indices[behaviour.levels[i].place] for i in chosen]
            network = _build(title, name, {**settings, "out_indices": indices})
            behaviour = behaviour.with_places({i: place for place, i in enumerate(chosen)})
        super().__init__(
            title,
            network,
            behaviour,
            in_channels=in_channels,
            levels=levels,
            channels_last=channels_last,
            pretrained=pretrained,
        )
        self._name, self._options = name, {"in_chans": in_channels, **options}

    def own_names(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """timm's state dict of the whole network under this backbone's names, without what no pyramid has."""
        own = {_plain(key): key for key in self.state_dict()}
        given = {own.get(_plain(key), key): value for key, value in state.items() if not key.endswith(DERIVED)}
        if given.keys() <= set(own.values()):
            return given
        whole = {_plain(key) for key in _whole(self._name, self._options).state_dict()}
        return {key: value for key, value in given.items() if _plain(key) in own or _plain(key) not in whole}

    def refit(self, name: str, tensor: Tensor) -> Tensor:
        """A Swin's position-bias table resampled to this network's window, as for the toolkit's own."""
        if not name.endswith("relative_position_bias_table"):
            return tensor
        return resample_bias(tensor, len(self.get_parameter(name)))


def _build(title: str, name: str, settings: Mapping[str, Any]) -> nn.Module:
    try:
        with one_attempt() if settings["pretrained"] else nullcontext():
            return _made(name, settings)
    except Exception as error:  # timm lets errors of many kinds through, from assertions to those of downloads
        refusal = error
    why = one_line(refusal)
    if "features_only" in why:
        raise ValueError(f"'{title}' has no pyramid: timm can't take feature maps from it") from refusal
    if settings["pretrained"]:
        why += "; weights that can't be downloaded can be given as a file: weights=PATH"
    raise ValueError(f"'{title}' can't be built: {why}") from refusal


def _made(name: str, settings: Mapping[str, Any]) -> nn.Module:
    refusal = TypeError()
    for any_size in ANY_SIZE:
        try:
            network: nn.Module = timm.create_model(name, features_only=True, **{**any_size, **settings})
        except TypeError as error:  # an option that it doesn't know; the last error is about the caller's own
            refusal = error
        else:
            return network
    raise refusal


def _whole(name: str, options: Mapping[str, Any]) -> nn.Module:
    """The network with its classifier, for the names of its tensors."""
    try:
        network: nn.Module = timm.create_model(name, **options)
    except TypeError:  # an option of pyramids alone
        network = timm.create_model(name)
    return network


def _trials(step: int, size: int | Sequence[int]) -> list[Trial]:
    """Any size in steps of the coarsest stride; else in steps of the network's own size; else that size alone."""
    rows, columns = (size, size) if isinstance(size, int) else size
    return [
        Trial(size=(2 * step, 3 * step), multiple=(step, step)),
        Trial(size=(rows, 2 * columns), multiple=(rows, columns)),
        Trial(size=(rows, columns), multiple=(rows, columns), fixed=True),
    ]


def _plain(key: str) -> str:
    """A tensor's name without what timm changes when it takes feature maps: a prefix, and dots for underscores."""
    return key.removeprefix("network.").removeprefix("model.").replace(".", "_")
