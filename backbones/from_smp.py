"""Any encoder of segmentation-models-pytorch as a backbone: ``smp:mit_b2``."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from difflib import get_close_matches

from segmentation_models_pytorch.encoders import get_encoder, get_encoder_names
from torch import Tensor, nn

from segkit.backbones.backbone import select_levels
from segkit.backbones.foreign import Foreign, Trial, drop_unused, watch
from segkit.backbones.hub import one_attempt
from segkit.one_line import one_line

DEPTH = 5  # times that a whole encoder halves the image
CLASSIFIERS = ("fc.", "_fc.", "classifier.", "last_linear.", "head.", "linear.", "conv_head.", "bn2.")
"""Beginnings of what published weights have beyond an encoder, as the libraries call it."""


class FromSmp(Foreign):
    """The pyramid of the library's encoder of that name, made by ``get_encoder``.

    The image that encoders return in front of their maps, and the maps without channels that some put there, are no
    levels. Images of any size are filled up with zeros to what the encoder needs; see ``Foreign``.

    Args:
        name: the library's name of the encoder. Its ``tu-`` encoders are timm's networks: use ``timm:NAME``.
        in_channels: channels of the image.
        levels: indices of the levels to return; None returns all. Layers that the encoder doesn't run
            for them are not kept.
        pretrained: start from the ImageNet weights that the library publishes, which are downloaded.

    Raises ValueError for an unknown name, and for weights that don't exist or are out of reach.
    """

    def __init__(
        self, name: str, *, in_channels: int = 3, levels: Sequence[int] | None = None, pretrained: bool = False
    ) -> None:
        title = f"smp:{name}"
        if name.startswith("tu-"):
            raise ValueError(f"'{title}' is a network of timm's: write 'timm:{name.removeprefix('tu-')}'")
        if name not in get_encoder_names():
            nearest = get_close_matches(name, get_encoder_names(), n=3, cutoff=0)
            raise ValueError(f"segmentation-models-pytorch has no encoder '{name}'; near it: {', '.join(nearest)}")
        network = _build(title, name, in_channels=in_channels, depth=DEPTH, pretrained=pretrained)
        step = 2**DEPTH
        trial = Trial(size=(2 * step, 3 * step), multiple=(step, step))
        behaviour = watch(title, network, [trial], in_channels=in_channels)
        if levels is not None:  # built again, it ends at the last of them
            last = behaviour.levels[select_levels(levels, len(behaviour.levels))[-1]]
            network = _build(title, name, in_channels=in_channels, depth=last.place, pretrained=pretrained)
        drop_unused(network, trial.size, in_channels=in_channels)
        super().__init__(
            title,
            network,
            behaviour,
            in_channels=in_channels,
            levels=levels,
            channels_last=False,
            pretrained=pretrained,
        )

        self._name = name

    def own_names(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """A state dict of the encoder, or of a whole model around it, under this backbone's names."""
        if any(key.startswith("encoder.") for key in state):  # beside it there are a decoder and a head
            state = {key.removeprefix("encoder."): value for key, value in state.items() if key.startswith("encoder.")}
        own = self.state_dict()
        given = {f"network.{key.removeprefix('network.')}": value for key, value in state.items()}
        if given.keys() <= own.keys():
            return given
        # For the names of its tensors alone; on torch's meta device some encoders can't be built.
        whole = _build(self.title, self._name, in_channels=self.in_channels, depth=DEPTH, pretrained=False)
        beyond = {f"network.{key}" for key in whole.state_dict()} - own.keys()
        classifier = tuple(f"network.{part}" for part in CLASSIFIERS)
        return {key: value for key, value in given.items() if key not in beyond and not key.startswith(classifier)}


def _build(title: str, name: str, *, in_channels: int, depth: int, pretrained: bool) -> nn.Module:
    try:
        with one_attempt() if pretrained else nullcontext():
            network: nn.Module = get_encoder(
                name, in_channels=in_channels, depth=depth, weights="imagenet" if pretrained else None
            )
    except Exception as error:  # the library lets errors of many kinds through, those of downloads among them
        why = one_line(error)
        if pretrained:
            why += "; weights that can't be downloaded can be given as a file: weights=PATH"
        raise ValueError(f"'{title}' can't be built: {why}") from error
    return network
