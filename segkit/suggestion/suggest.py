"""``segkit init``: look at a dataset and a machine, and write the recipe that fits them."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

import segkit
from segkit.cores import cores
from segkit.data.dataset import CACHE_BYTES
from segkit.data.folder import DatasetFolder, Sample, open_dataset
from segkit.devices import default_device
from segkit.errors import DataError, UsageError
from segkit.files import write_whole
from segkit.precision import fastest
from segkit.recipe import DataRecipe, ModelRecipe, Recipe
from segkit.recipe_file import load_recipe
from segkit.suggestion.choices import Device, choose
from segkit.suggestion.facts import Facts, measure
from segkit.suggestion.speed import crops_cut_per_second, crops_per_second
from segkit.suggestion.text import to_yaml

MOST_HOURS = 24 * 366
BUSY = 1.5  # processes that want to run, for each core


@dataclass(frozen=True)
class Suggestion:
    """A recipe and what it follows from.

    Attributes:
        name: the recipe's, from the dataset's.
        text: YAML, each choice with its reason.
        facts: what was measured on the pictures.
    """

    name: str
    text: str
    facts: Facts

    def save(self, path: str | Path, *, overwrite: bool = False) -> Recipe:
        """Write the recipe to a ``.yaml`` file and return it as ``segkit train`` will read it.

        Raises:
            UsageError: another suffix, or the file exists and is not to be overwritten.
        """
        path = Path(path)
        check_recipe_place(path, overwrite=overwrite)
        try:
            write_whole(path, self.text)
        except OSError as error:
            raise UsageError(f"{path}: can't be written ({error.strerror or error})") from None
        return load_recipe(path)


def check_recipe_place(path: Path, *, overwrite: bool) -> None:
    """Raise UsageError where no recipe can be written: another suffix, or a file that is not to be overwritten."""
    if path.suffix not in (".yaml", ".yml"):
        raise UsageError(f"{path}: a recipe's name ends in .yaml")
    if path.exists() and not overwrite:
        raise UsageError(f"{path}: there already; choose another name with -o, or say --overwrite")


def recipe_name(dataset: str) -> str:
    """A recipe's name, from a dataset's."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", dataset).strip("_.-") or "dataset"


def suggest(data: str | Path, *, hours: float = 1.0) -> Suggestion:
    """A recipe fitted to a dataset, to this machine and to the time that training may take.

    Looks at up to 200 pictures and trains each model that comes into question for a few steps, to know its speed here.

    Args:
        data: the dataset's folder.
        hours: for the whole training.

    Raises:
        UsageError: ``hours`` is not above 0, or beyond a year.
        DataError: a dataset that can't be trained on.
    """
    if not 0 < hours <= MOST_HOURS:
        raise UsageError(f"hours is {hours:g}; expected a number above 0, up to {MOST_HOURS:,}")
    folder = open_dataset(data)
    splits = {name: len(stems) for name, stems in folder.splits.items()}
    if not splits.get("train"):
        raise DataError(f"{folder.path}: no split 'train' with pictures in it; dataset.yaml lists them under splits")
    both = ("train", "val") if splits.get("val") and splits.get("test") else ("train",)
    samples = folder.samples(*both)
    facts = measure(folder, samples)
    device: Device = "cuda" if torch.cuda.is_available() else "cpu"

    def speed(model: ModelRecipe, settings: DataRecipe, batch: int) -> float:
        trained = crops_per_second(
            model, settings, classes=folder.classes, task=folder.task, background=folder.background, batch=batch
        )
        if device == "cpu" or facts.volumes is not None:  # the loader is the faster one, or its slices lie ready
            return trained
        height, width = facts.median
        held = facts.pictures * height * width * (facts.channels + 1) < CACHE_BYTES
        return min(trained, crops_cut_per_second(folder, samples, settings, held=held, device=default_device()))

    choices = choose(
        facts,
        task=folder.task,
        splits=splits,
        device=device,
        minutes=hours * 60,
        speed=speed,
    )
    name = recipe_name(folder.name)
    return Suggestion(name, to_yaml(name, str(data), choices, _heading(folder, samples, facts, device, hours)), facts)


def _heading(folder: DatasetFolder, samples: Sequence[Sample], facts: Facts, device: Device, hours: float) -> list[str]:
    height, width = facts.median
    shares = ", ".join(f"{name} {share:.1%}" for name, share in zip(folder.classes, facts.shares, strict=True))
    machine = torch.cuda.get_device_name() if device == "cuda" else f"{cores()} processor cores"
    what = f"{facts.pictures} pictures to train on, {width}×{height} {facts.type}"
    if facts.volumes is not None:
        what = f"{facts.volumes.cases} volumes to train on, {facts.pictures} slices, {width}×{height}"
    lines = [
        f"For {folder.name}: {what}, {folder.task}.",
        f"Classes: {shares}.",
        f"Fitted to {machine}, {fastest(torch.device(device))}, and {hours * 60:g} minutes by segkit "
        f"{segkit.__version__}. Change what you know better.",
    ]
    with_depth = sum(sample.depth is not None for sample in samples)
    if with_depth:
        unit = f" ({folder.depth_format.unit})" if folder.depth_format is not None else ""
        lines.append(
            f"Depth{unit} is there for {with_depth} of {len(samples)} pictures and isn't used here: 'depth: resnet18' "
            "beside 'backbone' adds it, see docs/depth.md."
        )
    if hasattr(os, "getloadavg") and os.getloadavg()[0] > BUSY * cores():
        lines.append("The machine had other work while speeds were measured: alone it may have time for more epochs.")
    return lines
