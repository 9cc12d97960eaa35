"""Retinal vessels on DRIVE: the shipped recipe, its members, a plain smp loop and a second human, by the same code.

    python benchmarks/retina.py FOLDER_OF_DRIVE [--seeds 0 1 2] [--systems segkit smp] [--minutes 60] [--runs runs]

FOLDER_OF_DRIVE is a dataset folder with the official 20 test images as split ``test``, the field of view as ``roi``
and the second human's masks in ``masks_2nd_observer/``. Both systems train on the official 20 training images (the
folder's ``train`` and ``val``) from random weights, about an hour on two cores: ``segkit`` is the recipe
``retina_ensemble`` as it is, ``smp`` the loop of ``small_budgets.py`` with a ResNet50 encoder for --minutes. A result
in ``benchmarks/results/retina.json`` is not made again, nor is a model of ours that a run has finished; delete its key,
and its run, to make it.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from machine import machine
from small_budgets import train_smp
from whole_run import whole

import segkit

RESULTS = Path(__file__).parent / "results" / "retina.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--systems", nargs="+", choices=["segkit", "smp"], default=["segkit", "smp"])
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    arguments = parser.parse_args()
    RESULTS.parent.mkdir(exist_ok=True)
    arguments.runs.mkdir(parents=True, exist_ok=True)
    data, minutes, runs = arguments.data, arguments.minutes, arguments.runs
    parts = {"second human": lambda: vessel(segkit.evaluate(data / "masks_2nd_observer", data).metrics)}
    for seed in arguments.seeds:
        if "segkit" in arguments.systems:
            parts[f"retina_ensemble, seed {seed}"] = lambda seed=seed: ours(data, seed, runs)
        if "smp" in arguments.systems:
            name = f"smp Unet resnet50, {minutes:g} minutes, seed {seed}"
            parts[name] = lambda seed=seed: train_smp(data, minutes, seed, "resnet50", runs, vessel)
    results = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    for name, measure in parts.items():
        if name not in results:
            results[name] = {**measure(), "machine": machine()}
            RESULTS.write_text(json.dumps(results, indent=1) + "\n")
        print(name, json.dumps(results[name]), flush=True)


def ours(data: Path, seed: int, runs: Path) -> dict[str, Any]:
    name = f"retina_seed_{seed}"
    run = runs / name
    if not (run / "model").is_dir() or (run / "checkpoints").is_dir():
        overrides = [f"name={name}", f"train.seed={seed}"]
        whole(segkit.train("retina_ensemble", data, overrides=overrides, out=runs, resume=run.is_dir()))
    model = segkit.load(run / "model")
    report = segkit.evaluate(model, data, "test")
    members = {member: vessel(metrics) for member, metrics in report.members.items()}
    return {**vessel(report.metrics), "members": members, "minutes": model.about["trained_on"]["minutes"]}


def vessel(metrics: dict[str, Any]) -> dict[str, float]:
    """F1 (= Dice) of the vessel pixels in the field of view, pooled over the test images, and what it is made of."""
    pooled = metrics["pooled"]["per_class"]["vessel"]
    return {
        "f1_pooled": round(pooled["dice"], 4),
        "f1_mean_over_images": round(metrics["mean_over_images"]["per_class"]["vessel"]["dice"], 4),
        "precision": round(pooled["precision"], 4),
        "recall": round(pooled["recall"], 4),
        "iou": round(pooled["iou"], 4),
    }


if __name__ == "__main__":
    main()
