"""Pretrained weights: where they come from, their tensors' names, and how a first layer meets new channels."""

import re
from collections.abc import Mapping
from pathlib import Path

import torch
import torchvision
from safetensors.torch import load_file
from torch import Tensor, nn

# Parts of a classifier that no backbone has, by the names they carry in published files.
CLASSIFIER = ("head.", "norm.", "fc.")


def load_weights(
    backbone: nn.Module, weights: str | Path | Mapping[str, Tensor], *, published: str | None = None
) -> None:
    """Fill a backbone with weights, in place; every tensor of it must be found.

    Args:
        backbone: what to fill. Stages that it was built without (``levels=``) are skipped; output norms that the
            weights lack stay as they are.
        weights: ``"imagenet"``, a ``.safetensors`` or ``.pth``/``.pt``/``.bin`` file, or a state dict; named as this
            backbone's own or as torchvision's.
        published: name of torchvision's weights class that ``"imagenet"`` stands for.

    Raises ValueError listing what is missing, unknown or of another shape.
    """
    state = our_names(read_weights(weights, published=published))
    own = backbone.state_dict()
    first = next((f"{name}.weight" for name, part in backbone.named_modules() if isinstance(part, nn.Conv2d)), None)
    if first in state and state[first].ndim == 4:
        state[first] = fold_channels(state[first], own[first].shape[1])

    known = {key: value for key, value in state.items() if key in own}
    missing = [key for key in own if key not in known and not key.startswith("norms.")]
    unknown = [key for key in state if key not in own and not _is_spare(key, backbone)]
    misfits = [
        f"{key}: found {tuple(value.shape)}, needed {tuple(own[key].shape)}"
        for key, value in known.items()
        if value.shape != own[key].shape
    ]
    problems = [
        f"{what}: {_listed(names)}"
        for what, names in (("missing", missing), ("unknown", unknown), ("of another shape", misfits))
        if names
    ]
    if problems:
        raise ValueError(f"the weights don't fit {type(backbone).__name__}; " + "; ".join(problems))
    backbone.load_state_dict(known, strict=False)


def read_weights(weights: str | Path | Mapping[str, Tensor], *, published: str | None = None) -> dict[str, Tensor]:
    """The state dict that ``weights`` stands for, on the CPU; files are never unpickled freely."""
    if isinstance(weights, Mapping):
        return dict(weights)
    if weights == "imagenet":
        if published is None:
            raise ValueError("weights is 'imagenet'; nobody published any for this backbone: give a file or None")
        entry = torchvision.models.get_weight(f"{published}.DEFAULT")
        return dict(entry.get_state_dict(progress=True, check_hash=True))
    path = Path(weights)
    if path.suffix not in (".safetensors", ".pth", ".pt", ".bin"):
        raise ValueError(f"weights is '{weights}'; expected 'imagenet' or a .safetensors, .pth, .pt or .bin file")
    if not path.is_file():
        raise ValueError(f"{path}: no such file of weights")
    if path.suffix == ".safetensors":
        return load_file(path)
    content = torch.load(path, map_location="cpu", weights_only=True)
    for wrapper in ("state_dict", "model"):  # training scripts put the optimiser and the epoch beside it
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise ValueError(f"{path}: no state dict in it; expected names and their tensors")
    return dict(content)


def our_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict under this package's names, from torchvision's Swin or ResNet; others pass unchanged."""
    if "features.0.0.weight" in state and any(key.endswith("relative_position_bias_table") for key in state):
        return {_swin_name(key): value for key, value in state.items() if not key.endswith("relative_position_index")}
    if "conv1.weight" in state and "layer1.0.conv1.weight" in state:
        return {_resnet_name(key): value for key, value in state.items()}
    return dict(state)


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


def _swin_name(key: str) -> str:
    """torchvision alternates in ``features``: even parts shrink the map, odd ones hold a stage's blocks."""
    found = re.match(r"features\.(\d+)\.(.+)", key)
    if not found:
        return key
    part, rest = int(found[1]), found[2]
    if part == 0:
        rest = re.sub(r"^0\.", "project.", re.sub(r"^2\.", "norm.", rest))
    if part % 2 == 0:
        return f"layers.{part // 2}.shrink.{rest}"
    rest = rest.replace("attn.relative_position_bias_table", "attention.bias_table")
    rest = rest.replace("attn.qkv", "attention.qkv").replace("attn.proj", "attention.project")
    return f"layers.{part // 2}.blocks.{rest.replace('mlp.3', 'mlp.2')}"


def _resnet_name(key: str) -> str:
    key = re.sub(r"^conv1\.", "stem.0.", re.sub(r"^bn1\.", "stem.1.", key))
    return re.sub(r"^layer(\d)\.", lambda found: f"layers.{int(found[1]) - 1}.", key)


def _is_spare(key: str, backbone: nn.Module) -> bool:
    """Whether a backbone can do without this tensor: a classifier's, an output norm's, a stage's that was not built."""
    stage = re.match(r"layers\.(\d+)\.", key)
    if stage and isinstance(backbone.layers, nn.ModuleList):
        return int(stage[1]) >= len(backbone.layers)
    return key.startswith((*CLASSIFIER, "norms."))


def _listed(names: list[str], most: int = 6) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
