"""State dicts by name: torchvision's, timm's, a file's, or one that is there already."""

import pickle
import re
import warnings
import zipfile
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import TypeAlias

import torch
import torchvision
from safetensors.torch import load_file
from torch import Tensor
from torchvision.models import WeightsEnum

from segkit.backbones.hub import one_attempt
from segkit.one_line import one_line

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")
WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "state_dict_ema", "model_ema", "teacher")
"""Training scripts put the optimiser and the epoch beside the weights, one inside the other; first those preferred."""

Source: TypeAlias = str | Path | WeightsEnum | Mapping[str, Tensor]


def read_weights(weights: Source, *, published: str | None = None) -> dict[str, Tensor]:
    """The state dict that ``weights`` stands for, on the CPU; files are never unpickled freely.

    Args:
        weights: ``"imagenet"``, torchvision's weights (``ResNet50_Weights.IMAGENET1K_V1``, the entry itself or its
            name), timm's (``timm:NAME``), a ``.safetensors``, ``.pth``, ``.pt`` or ``.bin`` file, or a state dict.
        published: what ``"imagenet"`` stands for: torchvision's weights class, or ``timm:NAME``.

    Raises ValueError for anything else, for a file without a state dict, and where a download fails.
    """
    if isinstance(weights, WeightsEnum):
        return _downloaded(str(weights), lambda: weights.get_state_dict(progress=True, check_hash=True))
    if isinstance(weights, Mapping):
        return _unwrapped(weights, "weights")
    if weights == "imagenet":
        if published is None:
            raise ValueError("weights is 'imagenet'; nobody published any for this backbone: give a file or None")
        return read_weights(published if published.startswith("timm:") else f"{published}.DEFAULT")
    if isinstance(weights, str) and weights.startswith("timm:"):
        return _of_timm(weights.removeprefix("timm:"))
    if isinstance(weights, str) and re.fullmatch(r"\w+_Weights\.\w+", weights):
        return read_weights(_of_torchvision(weights))
    if not isinstance(weights, str | Path):
        raise ValueError(f"weights is {weights!r}; expected a name, a file or a state dict")
    path = Path(weights)
    path = path.expanduser() if path.parts[:1] == ("~",) else path
    if (path / "segkit.json").is_file():
        raise ValueError(f"weights is '{weights}', a whole saved model; a recipe begins with one by model.start")
    if path.suffix.lower() not in SUFFIXES:
        near = get_close_matches(str(weights).lower(), ["imagenet"], n=1)
        hint = "did you mean 'imagenet'? Otherwise " if near else ""
        raise ValueError(
            f"weights is '{weights}'; {hint}expected 'imagenet' or a {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]} "
            "file, timm:NAME, or torchvision's NAME_Weights.ENTRY"
        )
    if not path.is_file():
        raise ValueError(f"{path}: no such file of weights")
    try:
        content = load_file(path) if path.suffix.lower() == ".safetensors" else _loaded(path)
    except pickle.UnpicklingError as error:  # torch's own words advise to run what is in the file
        raise ValueError(
            f"{path}: can't be read as weights only, running nothing in it: it holds other things than tensors, or is "
            "no such file; save the state dict alone, as .safetensors"
        ) from error
    except Exception as error:  # damaged files end in errors of every kind
        raise ValueError(
            f"{path}: can't be read as weights only, running nothing in it ({one_line(error)}); copy it again"
        ) from error
    return _unwrapped(content, str(path))


def _loaded(path: Path) -> object:
    if zipfile.is_zipfile(path):  # torch writes a checksum of every record, unless told not to, but compares none
        with zipfile.ZipFile(path) as archive:
            for record in [record for record in archive.infolist() if record.CRC]:
                with archive.open(record) as stream:
                    while stream.read(1 << 20):  # an error where the checksum is another
                        pass
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of files of old kinds, and of damaged ones
        return torch.load(path, map_location="cpu", weights_only=True)


def _unwrapped(content: object, where: str) -> dict[str, Tensor]:
    while isinstance(content, Mapping):
        inner = [content[wrapper] for wrapper in WRAPPERS if isinstance(content.get(wrapper), Mapping)]
        if not inner:
            break
        content = inner[0]
    if not isinstance(content, Mapping):
        raise ValueError(
            f"{where}: no state dict in it; expected names and their tensors, found {type(content).__name__}"
        )
    others = [name for name, value in content.items() if not (isinstance(name, str) and isinstance(value, Tensor))]
    if others:
        listed = ", ".join(repr(name) for name in others[:4])
        raise ValueError(f"{where}: no state dict in it; expected names and their tensors, found also {listed}")
    for name, value in content.items():
        if value.layout is not torch.strided:
            raise ValueError(f"{where}: {name} is sparse; expected a tensor of plain values")
    return dict(content)


def _of_torchvision(name: str) -> WeightsEnum:
    try:
        entry: WeightsEnum = torchvision.models.get_weight(name)
    except (AttributeError, KeyError, ValueError) as error:
        raise ValueError(f"weights is '{name}'; torchvision has no such weights") from error
    return entry


def _of_timm(name: str) -> dict[str, Tensor]:
    import timm  # only where it is asked for: it takes long to import

    if not timm.is_model(name):
        raise ValueError(f"weights is 'timm:{name}'; timm has no network of that name")

    def fetch() -> Mapping[str, Tensor]:
        with one_attempt():
            state: Mapping[str, Tensor] = timm.create_model(name, pretrained=True).state_dict()
        return state

    return _downloaded(f"timm:{name}", fetch)


def _downloaded(title: str, fetch: Callable[[], Mapping[str, Tensor]]) -> dict[str, Tensor]:
    try:
        return dict(fetch())
    except (OSError, RuntimeError) as error:  # no network, no such file there, a wrong checksum
        raise ValueError(
            f"the weights {title} can't be had ({one_line(error)}); download them elsewhere and give the file"
        ) from error
