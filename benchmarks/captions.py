"""Images and captions: zero-shot accuracy on wordings and on classes that training never saw.

    python benchmarks/captions.py ARCHIVE --seeds 0 1 2

ARCHIVE is the CIFAR-10 subset of JPEGs (train and test in one .npz). Captions are made from the labels: some name the
class, some say what it is (kind, size, motion, place, part) without the name, some say both. So they are compositional:
an animal, and flying, are learnt from others, and "a small animal that flies" is still new. The images of the
held-out classes are left out of training, and of validation. Of the test images:

- seen classes: which of the seen ones is it, by the wordings of training, and by others;
- held-out classes: which of the held-out ones is it, by their attributes, and by their names, which training never saw:
  these say nothing, and where they lead is arbitrary, below chance as well as above; and by their attributes among all
  classes, where a seen class is easily taken (always deer for horse, whose attributes are the same).

A run that was stopped goes on; what is in benchmarks/results/captions.json isn't measured again.
"""

import argparse
import csv
import json
import random
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from machine import machine
from whole_run import whole

import segkit
from segkit.contrasting.image_text import ImageText
from segkit.contrasting.zero_shot import class_vectors
from segkit.files import atomic_path
from segkit.labelled.held import HeldImages
from segkit.labelled.images import LabelledImages
from segkit.labelled.opening import open_labelled
from segkit.pretraining.recipe import PretrainRecipe
from segkit.pretraining.run import pretrain

RESULTS = Path(__file__).parent / "results" / "captions.json"
ATTRIBUTES = {  # kind, size, motion, place, part; every value of a held-out class is some seen class's too
    "airplane": ("machine", "large", "flies", "in the sky", "wings"),
    "automobile": ("machine", "small", "drives", "on a road", "wheels"),
    "bird": ("animal", "small", "flies", "in the sky", "wings"),
    "cat": ("animal", "small", "walks", "in a house", "paws"),
    "deer": ("animal", "large", "runs", "on grass", "hooves"),
    "dog": ("animal", "small", "walks", "in a house", "paws"),
    "frog": ("animal", "small", "jumps", "in mud", "wet skin"),
    "horse": ("animal", "large", "runs", "on grass", "hooves"),
    "ship": ("machine", "large", "floats", "on water", "a hull"),
    "truck": ("machine", "large", "drives", "on a road", "wheels"),
}
HELD_OUT = ("bird", "horse", "truck")
NAMED = ("a photo of a {name}", "this is a {name}", "a {name}", "there is a {name} in the picture")
OTHER_NAMED = (
    "a blurry snapshot showing one {name}",
    "look, what a nice {name}!",
    "{name}",
    "my camera saw the {name}",
)
DESCRIBED = (
    "a {kind} that {motion}",
    "a {size} {kind} with {part}",
    "a {kind} {place}",
    "something {size} that {motion} {place}",
    "a photo of a {kind} with {part} that {motion}",
    "a {size} {kind} that {motion} {place}, with {part}",
)
BOTH = ("a {name}, a {kind} that {motion}", "a {size} {name} {place}", "the {name} is a {kind} with {part}")
EACH = 6  # captions of an image
RECIPE = {
    "name": "captions_benchmark",
    "data": {"size": 40},  # a little more than the images' 32, so that the coarsest map is 3 × 3
    "model": {"backbone": {"name": "resnet18", "levels": [0, 1, 2, 3]}},
    "captions": {"text": {"name": "transformer", "width": 128, "depth": 2, "heads": 4}, "dim": 128, "length": 32},
    "augment": {"crop": {"scale": [0.5, 1.0]}},
    "train": {"epochs": 14, "batch": 64, "learning_rate": 1.5e-3, "weight_decay": 0.05, "ema": 0.99, "keep": "last"},
}


def main() -> None:
    """Measure every seed that isn't measured yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", type=Path)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--held-out", nargs="*", default=list(HELD_OUT), choices=ATTRIBUTES)
    parser.add_argument("--epochs", type=int, default=RECIPE["train"]["epochs"])
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    arguments = parser.parse_args()
    for seed in arguments.seeds:
        measure(arguments.archive, tuple(sorted(arguments.held_out)), seed, arguments.epochs, arguments.runs)


def measure(archive: Path, held_out: tuple[str, ...], seed: int, epochs: int, runs: Path) -> None:
    """One training and its scores, unless they are in the table."""
    results = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    key = f"without {', '.join(held_out)}; {epochs} epochs, seed {seed}"
    if key not in results:
        images = open_labelled(archive)
        out = runs / f"captions_{'_'.join(held_out)}_{epochs}_{seed}"
        data = write_captions(images, held_out, seed, out / "data")
        model, figures = trained(data, out, seed, epochs)
        found = {
            **scores(model, images, held_out),
            "validation": {name: round(value, 4) for name, value in figures.items()},
            "temperature": round(model.temperature, 4),
            "minutes": model.about["trained_on"]["minutes"],
            "threads": torch.get_num_threads(),
            "machine": machine(),
        }
        results = {**(json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}), key: found}  # others write too
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    print(key, json.dumps(results[key]), flush=True)


def trained(data: Path, out: Path, seed: int, epochs: int) -> tuple[ImageText, dict[str, float]]:
    """The model, and the validation's figures; from a run that is over, begun, or new."""
    recipe = PretrainRecipe.model_validate(RECIPE)
    directory = out / recipe.name
    table = directory / "metrics.json"
    figures = json.loads(table.read_text())["final"] if table.is_file() else None
    if figures is None:
        changes = [f"train.seed={seed}", f"train.epochs={epochs}"]
        figures = whole(pretrain(recipe, data, changes, out=out, resume=directory.is_dir())).metrics
    model = segkit.load(directory / "model")
    assert isinstance(model, ImageText)
    return model, figures


def write_captions(images: LabelledImages, held_out: Sequence[str], seed: int, folder: Path) -> Path:
    """A folder with the JPEGs of the seen classes that aren't for testing, and ``captions.csv``."""
    if (folder / "captions.csv").is_file():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    draws = random.Random(seed)
    rows = []
    for split in ("train", "val"):
        for index in images.splits[split].tolist():
            label = images.classes[images.labels[index]]
            if label in held_out:
                continue
            file = f"images/{images.names[index].replace('/', '_')}.jpg"
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            source = images.source
            (folder / file).write_bytes(source.data[source.offset[index] : source.offset[index + 1]].tobytes())
            for template in draws.sample([*NAMED, *DESCRIBED, *BOTH], EACH):
                rows.append((file, said(template, label), split))
    with atomic_path(folder / "captions.csv") as path, path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("file", "caption", "split"), *rows])
    return folder


def said(template: str, label: str) -> str:
    """A caption of a class by a template."""
    kind, size, motion, place, part = ATTRIBUTES[label]
    text = template.format(name=label, kind=kind, size=size, motion=motion, place=place, part=part)
    for vowel in "aeio":
        text = text.replace(f" a {vowel}", f" an {vowel}")
    return f"an{text[1:]}" if text[:3] in ("a a", "a e", "a i", "a o") else text


def scores(model: ImageText, images: LabelledImages, held_out: Sequence[str]) -> dict[str, float]:
    """Shares of the test images that are right, 0..1, and what chance is."""
    seen = [name for name in images.classes if name not in held_out]
    test = HeldImages(images, images.indices("test"), channels=3, size=model.view)
    truth = [images.classes[label] for label in test.labels.tolist()]
    with torch.no_grad():
        vectors = torch.cat([model.encode_images(batch["image"] / 255) for batch in test.batches(250, shuffle=False)])

    def right(classes: Sequence[str], templates: Sequence[str], of: Sequence[str]) -> float:
        captions = {name: [said(template, name) for template in templates] for name in classes}
        found = [classes[number] for number in (vectors @ class_vectors(model, captions).T).argmax(1).tolist()]
        return float(np.mean([a == b for a, b in zip(found, truth, strict=True) if b in of]))

    def each(classes: Sequence[str], templates: Sequence[str]) -> float:
        return float(np.mean([right(classes, [template], classes) for template in templates]))

    everything = [*NAMED, *DESCRIBED, *BOTH]
    found = {
        "seen classes, chance": 1 / len(seen),
        "seen classes, wordings of training, one at a time": each(seen, NAMED),
        "seen classes, wordings of training, together": right(seen, NAMED, seen),
        "seen classes, held-out wordings, one at a time": each(seen, OTHER_NAMED),
        "seen classes, held-out wordings, together": right(seen, OTHER_NAMED, seen),
        "held-out classes, chance": 1 / len(held_out),
        "held-out classes, by attributes": right(held_out, DESCRIBED, held_out),
        "held-out classes, by names never seen": right(held_out, NAMED, held_out),
        "held-out classes among all, chance": 1 / len(images.classes),
        "held-out classes among all, by attributes": right(images.classes, DESCRIBED, held_out),
        "all classes, by names and attributes": right(images.classes, everything, images.classes),
    }
    for name in held_out:
        found[f"{name}, by attributes among the held-out"] = right(held_out, DESCRIBED, [name])
    return {name: round(value, 4) for name, value in found.items()}


if __name__ == "__main__":
    print(f"segkit {segkit.__version__}, {torch.get_num_threads()} threads")
    main()
