"""What neighbours and planes are worth on volumes: one network, as many steps, four ways of looking.

    python benchmarks/volumes.py HIPPOCAMPUS [--seeds 0 1 2] [--runs runs]

HIPPOCAMPUS is a dataset folder of small MR volumes with voxels of 1 mm and two parts to find. Every system is the plain
U-Net from full resolution on that ``segkit init`` suggests for thin things, from random weights: trained on slices of
train + val for the same number of steps, 32 crops of 32 × 32 each, the last averaged weights kept, scored on test:

* ``2-D``: axial slices; ``2.5-D``: with one neighbour on either side; ``three planes``: axial, coronal and sagittal
  slices, what is said of a voxel in each averaged; ``three planes, 2.5-D``: both.

The Dice of a part is the mean over the cases, computed on each whole volume; the figure is the mean of the parts. Three
planes take three looks at each voxel, which the seconds a case show. Each finished training is kept in --runs, and each
row in ``benchmarks/results/volumes.json``: what is there is not made again.
"""

import argparse
import json
import time
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

from machine import machine
from whole_run import whole

import segkit
from segkit.recipe import Recipe

RESULTS = Path(__file__).parent / "results" / "volumes.json"
AXIAL, ALL = ["axial"], ["axial", "coronal", "sagittal"]
SYSTEMS = {
    "2-D": {"planes": AXIAL, "neighbours": 0},
    "2.5-D": {"planes": AXIAL, "neighbours": 1},
    "three planes": {"planes": ALL, "neighbours": 0},
    "three planes, 2.5-D": {"planes": ALL, "neighbours": 1},
}
STEPS, BATCH, CROP = 1120, 32, 32
WIDTHS = [24, 48, 96, 192]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--steps", type=int, default=STEPS, help="of each training")
    arguments = parser.parse_args()
    rows: dict[str, Any] = json.loads(arguments.results.read_text()) if arguments.results.is_file() else {}
    for seed in arguments.seeds:
        for system in SYSTEMS:
            key = f"{system}, seed {seed}"
            if key not in rows:
                rows[key] = row(arguments.data, system, seed, arguments.runs, arguments.steps)
                write(arguments.results, rows)
            print(key, json.dumps(rows[key]), flush=True)
    for system in SYSTEMS:
        found = [rows[f"{system}, seed {seed}"]["mean"] for seed in arguments.seeds]
        rows[system] = {
            "mean": round(mean(found), 4),
            "standard deviation": round(stdev(found), 4) if len(found) > 1 else None,
            "seeds": len(found),
        }
        print(system, json.dumps(rows[system]), flush=True)
    write(arguments.results, rows)


def row(data: Path, system: str, seed: int, runs: Path, steps: int) -> dict[str, Any]:
    """Train a system and score it."""
    name = system.replace(",", "").replace(" ", "_") + f"_{seed}"
    recipe = recipe_of(name, system, seed, slices_in(data, system), steps)
    if not (runs / name / "model").is_dir() or (runs / name / "checkpoints").is_dir():
        whole(segkit.train(recipe, data, out=runs, resume=(runs / name).is_dir()))
    place = runs / name / "model"
    report = segkit.evaluate(place, data)
    parts = {
        part: round(found["dice"], 4)
        for part, found in report.metrics["mean_over_images"]["per_class"].items()
        if part != "background"
    }
    model = segkit.load(place)
    return {
        **parts,
        "mean": round(mean(parts.values()), 4),
        "cases": len(report.metrics["images"]),
        "minutes": model.about["trained_on"]["minutes"],
        "seconds a case": seconds(place, data),
        "machine": machine(),
    }


def recipe_of(name: str, system: str, seed: int, slices: int, steps: int) -> Recipe:
    """The recipe of one training."""
    return Recipe.model_validate(
        {
            "name": name,
            "data": {
                "train_on": ["train", "val"],
                "validate_on": None,
                "channels": 1 + 2 * SYSTEMS[system]["neighbours"],
                "window": "picture",
                "slices": SYSTEMS[system],
                "crop": CROP,
                "augment": "light",
            },
            "model": {
                "backbone": {"name": "stem", "width": WIDTHS[0], "depth": 5},
                "neck": {"name": "unet", "widths": WIDTHS},
            },
            "loss": {"cross_entropy": 1.0, "dice": 1.0},
            "train": {
                "epochs": max(1, round(steps / (slices // BATCH))),
                "batch": BATCH,
                "learning_rate": 1e-3,
                "weight_decay": 0.02,
                "ema": 0.99,
                "keep": "last",
                "seed": seed,
            },
            "predict": {"tile": None},
        }
    )


def slices_in(data: Path, system: str) -> int:
    """Slices to train on."""
    from segkit.data.reader import Reader
    from segkit.data.slices import Slices

    folder = segkit.open_dataset(data)
    reader = Reader(window="picture", slices=Slices.model_validate(SYSTEMS[system]))
    return len(folder.slices(folder.samples("train", "val"), reader))


def seconds(place: Path, data: Path) -> float:
    """The median of five predictions of a case."""
    folder = segkit.open_dataset(data)
    file = folder.files[folder.splits["test"][0]].image
    predictor = segkit.Predictor(place)
    predictor.predict(file)
    times = []
    for _ in range(5):
        began = time.perf_counter()
        predictor.predict(file)
        times.append(time.perf_counter() - began)
    return round(median(times), 3)


def write(path: Path, rows: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
