"""Retinal vessels on DRIVE: the ensemble, its members, the stem alone and a second human, scored by the same code.

    python benchmarks/retina.py FOLDER_OF_DRIVE [--runs runs]

FOLDER_OF_DRIVE is a dataset folder with the official 20 test images as split ``test``, the field of view as ``roi``
and the second human's masks in ``masks_2nd_observer/``. Training takes about 50 minutes on two cores. A part whose
result is already in ``benchmarks/results/retina.json`` is not run again; delete its key to run it.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from machine import machine

import segkit
from segkit.evaluation.report import Report
from segkit.recipe import Recipe, load_recipe

RESULTS = Path(__file__).parent / "results" / "retina.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    arguments = parser.parse_args()
    RESULTS.parent.mkdir(exist_ok=True)
    data, results = arguments.data, json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    parts = {
        "second_human": lambda: scores(segkit.evaluate(data / "masks_2nd_observer", data)),
        "retina_ensemble": lambda: trained("retina_ensemble", data, arguments.runs),
        "stem_alone": lambda: trained(stem_alone(), data, arguments.runs),
    }
    for name, measure in parts.items():
        if name not in results:
            results[name] = {**measure(), "machine": machine()}
            RESULTS.write_text(json.dumps(results, indent=1) + "\n")
        print(name, json.dumps(results[name]))


def stem_alone() -> Recipe:
    """The recipe with the members' full- and half-resolution maps alone, no Swin or ResNet behind them."""
    recipe = load_recipe("retina_ensemble").model_dump()

    model = {"backbone": {"name": "stem", "width": 32}, "neck": "unet"}
    return Recipe.model_validate({**recipe, "name": "retina_stem", "ensemble": None, "model": model})


def trained(recipe: str | Recipe, data: Path, runs: Path) -> dict[str, Any]:
    run = segkit.train(recipe, data, out=runs)
    report = segkit.evaluate(run.model, data, "test")
    report.save(run.directory / "test")
    members = {name: vessel(metrics) for name, metrics in report.members.items()}
    return {**scores(report), "members": members, "minutes": run.model.about["trained_on"]["minutes"]}


def scores(report: Report) -> dict[str, Any]:
    return vessel(report.metrics)


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
