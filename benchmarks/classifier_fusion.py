"""What two classifiers are worth together: Swin and ResNet50, late and early fusion, on 5,000 small images.

    python benchmarks/classifier_fusion.py cifar10_subset_5000_1000_jpeg.npz [--seeds 0 1 2] [--epochs 8] [--runs runs]

The data are labelled images of any layout, of 32 pixels a side. A tenth of ``train`` is held out as ``val``, if there
is none; ``test`` is touched once by each system. Of every seed:

* ``swin`` and ``resnet50``, trained one by one from first weights of their own, for as many epochs, the last weights
  kept. The images are shown at one and a half times their size: so ResNet50, which halves its input five times, ends in
  a map of 2 × 2 and not in one point. Swin has patches of 3 pixels, and so as many tokens as ``swin_cifar10`` has, but
  half its width and two blocks fewer, so that both members train in the time that is stated here;
* late fusion: ``uniform``, the mean of their probabilities; ``score``, weighted by accuracy on ``val``; ``member`` and
  ``class``, weights fitted on ``val``, one a member, or one a member and class (where they don't do better than equal
  ones on images they weren't fitted on, they are not kept, and the row is that of ``uniform``);
* ``early``: the features of both, side by side, under a joint head, trained on ``train``, as it is and augmented.

Everything is brought to its best temperature on ``val``, the members too; what they say as trained is beside it.
Accuracy is top-1; NLL in nats; ECE over 15 bins of equal width. ``all seeds`` has the means, and the standard
deviations over the seeds. Each finished training is kept in ``--runs``, and each row in
``benchmarks/results/classifier_fusion.json``: what is there is not made again, and a training that was begun goes on.
About a quarter of an hour a seed on one core.
"""

import argparse
import json
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch
from kept_rows import read, write
from machine import machine
from whole_run import whole

import segkit
from segkit.classification.classifier import Classifier
from segkit.classification.ensemble import ClassifierEnsemble
from segkit.classification.fuse import WAYS, Fused, fuse
from segkit.classification.fusion import kept_temperature
from segkit.classification.member_features import MemberFeatures
from segkit.classification.report import evaluate_classifier
from segkit.labelled.augmentation import Augmentation
from segkit.labelled.images import LabelledImages
from segkit.labelled.opening import open_labelled
from segkit.pretraining.recipe import PretrainRecipe

RESULTS = Path(__file__).parent / "results" / "classifier_fusion.json"
FIGURES = ("accuracy", "nll", "ece")
VIEWS = 2

AUGMENT: dict[str, Any] = {"crop": {"scale": [0.5, 1.0]}, "flip": 0.5}
COMMON: dict[str, Any] = {
    "data": {"size": 48, "share": 1.0, "validate_on": None},
    "classify": {"label_smoothing": 0.1},
    "augment": AUGMENT,
}
TRAIN: dict[str, Any] = {"batch": 32, "weight_decay": 0.05, "ema": 0.98, "keep": "last"}
SWIN = {"name": "swin", "patch_size": 3, "window": 4, "embed_dim": 48, "depths": [2, 4, 2], "heads": [3, 6, 12]}
MEMBERS: dict[str, dict[str, Any]] = {
    "swin": {"backbone": SWIN, "learning_rate": 1e-3},
    "resnet50": {"backbone": "resnet50", "learning_rate": 1e-3},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    arguments = parser.parse_args()
    benches = [Bench(arguments.data, seed, arguments.runs, arguments.epochs) for seed in arguments.seeds]
    for bench in benches:
        bench.run()
    summary = over_seeds(read(RESULTS), benches)
    write(RESULTS, f"{arguments.epochs} epochs, all seeds", summary)
    print(table(summary))


class Bench:
    """The systems of one seed; their rows are written as soon as they are there."""

    def __init__(self, data: Path, seed: int, runs: Path, epochs: int) -> None:
        self.data, self.seed, self.runs, self.epochs = data, seed, runs, epochs

    def run(self) -> None:
        """Train, fit and score what isn't there yet."""
        for name in MEMBERS:
            self.row(name, lambda name=name: self.alone(name))
        for way in WAYS:
            self.row(way, lambda way=way: self.scored(self.fused[way].model, self.kept(way)))

    def key(self, name: str) -> str:
        """What the row of a system is called."""
        return f"{self.epochs} epochs, seed {self.seed}, {name}"

    def row(self, name: str, make: Callable[[], dict[str, Any]]) -> None:
        """Make a row, unless it is there."""
        key = self.key(name)
        if key not in read(RESULTS):
            write(RESULTS, key, {**make(), "machine": machine()})
        print(key, json.dumps(read(RESULTS)[key]), flush=True)

    @cached_property
    def images(self) -> LabelledImages:
        """The dataset."""
        return open_labelled(self.data)

    @cached_property
    def members(self) -> dict[str, Classifier]:
        """Both members, trained."""
        return {name: segkit.load(self.trained(name)) for name in MEMBERS}

    @cached_property
    def fused(self) -> dict[Any, Fused]:
        """The members together, in every way."""
        found = fuse(
            self.members, self.images, WAYS, augment=Augmentation.model_validate(AUGMENT), views=VIEWS, seed=self.seed
        )
        for each in found.values():
            for note in each.notes:
                print(f"seed {self.seed}: {note}", flush=True)
        return found

    def trained(self, name: str) -> Path:
        """The model of one member, made unless it is finished; what was begun goes on."""
        own, number = MEMBERS[name], list(MEMBERS).index(name)
        values = {
            **COMMON,
            "name": f"fusion_{self.epochs}_{self.seed}_{name}",
            "model": {"backbone": own["backbone"]},
            "train": {
                **TRAIN,
                "epochs": self.epochs,
                "learning_rate": own["learning_rate"],
                "seed": 100 * self.seed + number,
            },
        }
        recipe = PretrainRecipe.model_validate(values)
        run = self.runs / recipe.name
        if not (run / "model").is_dir() or (run / "checkpoints").is_dir():
            whole(segkit.pretrain(recipe, self.data, out=self.runs, resume=run.is_dir()))
        return run / "model"

    def alone(self, name: str) -> dict[str, Any]:
        """A member's row: at its best temperature, and as it was trained."""
        member = self.members[name]
        (features,), target = MemberFeatures([member], self.images, device=torch.device("cpu")).of("val")
        with torch.no_grad():
            temperature = kept_temperature(member.head(features), target, seed=self.seed)
        tempered = ClassifierEnsemble([member], names=[name], temperature=temperature).eval()
        as_trained = {f"{key} as trained": value for key, value in self.scored(member).items() if key != "accuracy"}
        return {**self.scored(tempered), **as_trained}

    def kept(self, way: str) -> dict[str, Any]:
        """Whether a fit was kept, and the weights of late fusion."""
        model = self.fused[way].model
        facts = {key: value for key, value in model.about["fitted_on"].items() if key == "kept"}
        if isinstance(model, ClassifierEnsemble):
            facts["weights"] = [[round(w, 3) for w in row] for row in model.combination.options()["weights"]]
        return facts

    def scored(self, model: Any, facts: dict[str, Any] | None = None) -> dict[str, Any]:
        """Figures on ``test``."""
        metrics = evaluate_classifier(model, self.images, "test").metrics
        figures = {"accuracy": metrics["top1"], "nll": metrics["nll"], "ece": metrics["ece"]}
        return {**{key: round(value, 4) for key, value in figures.items()}, **(facts or {})}


def over_seeds(rows: dict[str, Any], benches: list[Bench]) -> dict[str, Any]:
    """Means and standard deviations of each system's figures over the seeds."""
    found: dict[str, Any] = {}
    for name in (*MEMBERS, *WAYS):
        each = [rows[bench.key(name)] for bench in benches]
        found[name] = {
            figure: {
                "mean": round(mean(row[figure] for row in each), 4),
                "std": round(stdev(row[figure] for row in each), 4) if len(each) > 1 else None,
            }
            for figure in FIGURES
        }
    return {"seeds": [bench.seed for bench in benches], **found}


def table(summary: dict[str, Any]) -> str:
    """The summary as text."""
    lines = [f"{'':10}" + "".join(f"{figure:>18}" for figure in FIGURES)]
    for name in (*MEMBERS, *WAYS):
        cells = [summary[name][figure] for figure in FIGURES]
        shown = [f"{cell['mean']:.4f}" + ("" if cell["std"] is None else f" ± {cell['std']:.4f}") for cell in cells]
        lines.append(f"{name:10}" + "".join(f"{each:>18}" for each in shown))
    return "\n".join(lines)


if __name__ == "__main__":
    main()
