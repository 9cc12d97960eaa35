"""What is probed: the backbone that a name, a saved model's folder, a run or a file of weights stands for."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from segkit import artifact, backbones
from segkit.backbones.backbone import Backbone
from segkit.errors import ModelError, UsageError
from segkit.labelled.view import View
from segkit.model_arguments import Named, normalisation, part
from segkit.yaml_text import read_yaml

SEED = 0  # of random weights
CHANNELS = 3  # of the images that a backbone by name is shown
WEIGHTS = "backbone.safetensors"  # of a pretraining run
DEPTH = "depth.safetensors"  # of a colour_depth run
RECIPE = "recipe.yaml"
PROJECTIONS = "projections.safetensors"  # the rest of a colour_depth run's model


@dataclass(frozen=True)
class Subject:
    """A backbone, and how images are shown to it.

    Attributes:
        title: what tables call it.
        backbone: image → pyramid.
        mean, std: what images in 0..1 are normalised by, float32 [1, C, 1, 1].
        view: what its own model sees of an image; None where it has no model.
        notes: what should be said of it.
        about: what is kept with its model; empty where it has no model.
    """

    title: str
    backbone: Backbone
    mean: Tensor
    std: Tensor
    view: View | None
    notes: tuple[str, ...] = ()
    about: Mapping[str, Any] = field(default_factory=dict)


def open_subject(what: Named | Path, weights: str | Path | None = None) -> Subject:
    """The backbone that ``what`` stands for.

    Args:
        what: a backbone by name, or ``{"name": …, option: value}``; the folder or zip of a saved model; the folder of a
            pretraining run; or a run's ``backbone.safetensors``.
        weights: for a name: ``"imagenet"``, a file, or whatever else backbones take; None: random ones.

    Raises:
        UsageError: an unknown name, nothing there, or weights for what has its own.
        ModelError: a model that can't be read, or one without a single backbone.
    """
    if isinstance(what, Mapping) or (isinstance(what, str) and _is_name(what)):
        return _by_name(part(what), weights)
    path = Path(what)
    if weights is not None:
        raise UsageError(f"{path}: has weights of its own; --weights is for a backbone by name")
    if path.is_dir() and (path / WEIGHTS).is_file():
        return _of_run(path / WEIGHTS)
    if path.is_dir() and (path / "model" / artifact.DESCRIPTION).is_file():
        return _of_model(path / "model")
    if path.is_file() and path.suffix == ".safetensors":
        return _of_run(path)
    if not path.exists():
        raise UsageError(
            f"{what}: neither a backbone's name (segkit models lists them) nor a model's or a run's folder"
        )
    return _of_model(path)


def _is_name(what: str) -> bool:
    """Whether it names a backbone: one of the toolkit's, or ``timm:…``, ``smp:…``, ``package.module:Class``."""
    return what in backbones.names() or (":" in what and not Path(what).exists())


def _by_name(named: dict[str, Any], weights: str | Path | None) -> Subject:
    if weights is not None:
        if named.get("weights") is not None:
            raise UsageError(f"weights are given twice: {named['weights']} and {weights}")
        named = {**named, "weights": weights}
    mean, std = normalisation(None, None, CHANNELS)
    own = named.get("weights")
    notes = (
        ()
        if own is not None
        else (f"the weights are random (seed {SEED}): what they reach is what others are to be held against",)
    )
    title = named["name"] if own is None else f"{named['name']}, {own}"
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(SEED)
        backbone = _created(named, CHANNELS)
    return Subject(title, backbone, _plane(mean), _plane(std), None, notes)


def _of_run(weights: Path) -> Subject:
    """The backbone of a file that a pretraining run left beside its recipe, shown images as the run's model is."""
    recipe = weights.parent / RECIPE
    if weights.name == DEPTH:
        raise UsageError(f"{weights}: a backbone of depth, to which images say nothing; probe {WEIGHTS} beside it")
    try:
        text = read_yaml(recipe.read_text(encoding="utf-8"))
        named, data = part(text["model"]["backbone"]), text["data"]
    except (OSError, yaml.YAMLError, KeyError, TypeError, UsageError):
        raise UsageError(
            f"{weights}: no {RECIPE} beside it says which backbone this is; name that, and give the file by --weights"
        ) from None
    named["weights"] = weights
    model = weights.parent / "model"
    if weights.name == WEIGHTS and (model / artifact.DESCRIPTION).is_file():
        found = _seeing(artifact.load(model))
        if found is not None:
            return replace(found, title=str(weights.parent), backbone=_created(named, found.mean.shape[1]))
    rest = weights.parent / PROJECTIONS
    if weights.name == WEIGHTS and rest.is_file():
        mean, std, view = _shown(rest, data)
        return Subject(str(weights), _created(named, mean.shape[1]), mean, std, view)
    channels = int(data.get("channels", CHANNELS)) if isinstance(data, dict) else CHANNELS
    usual = normalisation(None, None, channels)
    return Subject(str(weights), _created(named, channels), _plane(usual[0]), _plane(usual[1]), None)


def _shown(rest: Path, data: Mapping[str, Any]) -> tuple[Tensor, Tensor, View]:
    """By what a colour_depth run normalises images, and at what size it sees them whole."""
    try:
        kept = load_file(rest)
        size = data["size"]
        view = View(size=(size, size) if isinstance(size, int) else tuple(size), share=1.0)
        return kept["mean"], kept["std"], view
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{rest}: doesn't say how its run shows images ({error})") from None


def _of_model(path: Path) -> Subject:
    model = artifact.load(path)
    found = _seeing(model)
    if found is None:
        members = getattr(model, "names", ())
        hint = f"; probe a member's own model: {', '.join(members)}" if members else ""
        raise ModelError(f"{path}: {type(model).__name__} has no backbone of its own to probe{hint}")
    notes = []
    if len(found.backbone.modalities) > 1:
        notes.append("the backbone takes depth too; it is probed on images alone")
    reader = getattr(model, "reader", None)
    if reader is not None and (reader.window is not None or reader.slices is not None):
        notes.append("the model reads files in a way of its own (window, slices); here bytes are divided by 255")
    return replace(found, title=str(path), notes=tuple(notes))


def _seeing(model: object) -> Subject | None:
    """What of a model looks at images: its backbone, or that of its tower for images; None where there is no such."""
    part_of = model if hasattr(model, "backbone") else getattr(model, "image", None)
    backbone = getattr(part_of, "backbone", None)
    mean, std = getattr(part_of, "mean", None), getattr(part_of, "std", None)
    if not (isinstance(backbone, Backbone) and isinstance(mean, Tensor) and isinstance(std, Tensor)):
        return None
    view, size = getattr(model, "view", None), getattr(model, "input_size", None)
    if not isinstance(view, View):
        view = View(size=size, share=1.0) if size is not None else None
    return Subject(type(model).__name__, backbone, mean, std, view, about=getattr(model, "about", {}))


def _created(named: dict[str, Any], channels: int) -> Backbone:
    try:
        return backbones.create(**named, in_channels=channels)
    except (ValueError, TypeError) as error:
        raise UsageError(str(error)) from error


def _plane(values: Any) -> Tensor:
    return torch.tensor(values, dtype=torch.float32).view(1, -1, 1, 1)
