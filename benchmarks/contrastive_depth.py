"""What colour and depth learn from each other without masks: retrieval, and a bridged segmenter that starts from it.

    python benchmarks/contrastive_depth.py TOOLS [--seeds 0 1 2] [--only pretrain scratch pretrained] [--runs runs]

TOOLS is a dataset folder with depth. Of every seed:

* ``pretrain``: the shipped recipe ``colour_depth`` for --minutes (10) on train, the best averaged weights by R@1 on val
  kept. How pictures and their depth find each other is then measured on each other split as well, always among the
  pictures of one split, seen whole: R@1 and R@5, means of both directions, beside chance. ``validity alone`` is the
  same with every measured distance set to the same one: what the shape of the holes alone gives away;
* ``scratch`` and ``pretrained``: a segmenter of two ResNet18 with ``se`` bridges, from random weights or from the two
  backbones of that seed's ``pretrain``; else the same crops, in the same order, for the same epochs, on --train splits
  (train and val), the last averaged weights kept, scored on test at threshold 0.5. ``few`` are the same two on every
  eighth picture of train alone, for as many steps: pretraining is for where masks are few.

IoU and F1 are means over the classes that occur in the test masks, background included, pooled over all pixels; NLL is
nats a pixel. Summaries are means over the seeds with their standard deviation; differences have 95 % intervals from
test pictures drawn alike for both.

Each finished training is kept in --runs, and each row in ``benchmarks/results/contrastive_depth.json`` (--results names
another file): what is there is not made again, and what was begun goes on, so that it may be killed at any time.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from depth_accuracy import COMMON, TOOLS_BUDGET, Results, counts_of, paired, scores_of, spread_of
from machine import machine
from safetensors.torch import load_file
from whole_run import whole

import segkit
from segkit.contrasting.colour_depth import ColourDepth
from segkit.contrasting.pairs import pair_samples
from segkit.contrasting.scoring import retrieve
from segkit.data.batches import Item
from segkit.data.dataset import SegmentationDataset
from segkit.data.masks import IGNORE
from segkit.labels import labels_of
from segkit.prediction.of_sample import predict_sample
from segkit.pretraining.colour_depth import create
from segkit.pretraining.recipe import PretrainRecipe
from segkit.pretraining.run import pretrain
from segkit.recipe import Recipe
from segkit.recipe_file import load_as

RESULTS = Path(__file__).parent / "results" / "contrastive_depth.json"
BACKBONE = "resnet18"
BRIDGE = "se"
EVERY = 8  # of train's pictures, those that ``few`` has masks of
SYSTEMS = ["pretrain", "scratch", "pretrained", "few scratch", "few pretrained"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tools", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", choices=SYSTEMS, default=SYSTEMS, metavar="SYSTEM")
    parser.add_argument("--minutes", type=float, default=10.0, help="of each pretraining")
    parser.add_argument(
        "--epochs",
        type=int,
        default=TOOLS_BUDGET["train"]["epochs"],
        help="of each segmenter on all pictures; few has as many steps",
    )
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--results", type=Path, default=RESULTS)
    Bench(parser.parse_args()).run()


class Bench:
    """The systems; their rows are written as soon as they are there."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.data, self.seeds, self.runs = arguments.tools, arguments.seeds, arguments.runs
        self.minutes, self.epochs, self.only = arguments.minutes, arguments.epochs, arguments.only
        self.results = Results(arguments.results)
        self.folder = segkit.open_dataset(self.data)
        there = {int(k) for each in self.folder.samples("test") for k in np.unique(self.folder.read_mask(each))}
        self.kept = sorted(there - {IGNORE})

    def run(self) -> None:
        """Train and score what isn't there yet, then sum up."""
        for seed in self.seeds:
            for system in self.only:
                key = f"{system}, seed {seed}"
                if key not in self.results:
                    row = self.pretrained(seed) if system == "pretrain" else self.segmented(system, seed)
                    self.results[key] = {**row, "machine": machine()}
                print(key, json.dumps(self.results[key]), flush=True)
        self.summarise()

    def start(self, seed: int) -> Path:
        """The folder of a seed's pretraining, made unless it is finished; what was begun goes on."""
        recipe = self.pretraining(seed)
        run = self.runs / recipe.name
        if not (run / "backbone.safetensors").is_file() or (run / "checkpoints").is_dir():
            whole(pretrain(recipe, self.data, out=self.runs, resume=run.is_dir()))
        return run

    def pretraining(self, seed: int) -> PretrainRecipe:
        """The recipe of a seed's pretraining: as many epochs as there is time for."""
        changes = [f"name=space_{seed}", f"train.seed={seed}", f"train.minutes={self.minutes}", "train.epochs=10000"]
        return load_as(PretrainRecipe, "colour_depth", changes, data=self.data)

    def pretrained(self, seed: int) -> dict[str, Any]:
        """Retrieval after pretraining, on every split but the one it was trained on."""
        recipe, run = self.pretraining(seed), self.start(seed)
        objective = create(recipe, torch.device("cpu"))
        model = objective.colour_depth.eval()
        model.load_state_dict(
            {
                **load_file(run / "projections.safetensors"),
                **{f"colour.{name}": tensor for name, tensor in load_file(run / "backbone.safetensors").items()},
                **{f"depth.{name}": tensor for name, tensor in load_file(run / "depth.safetensors").items()},
            }
        )
        log = (run / "log.txt").read_text(encoding="utf-8").splitlines()
        row: dict[str, Any] = {"log": log[-1].split("saved")[0].strip()}
        row["temperatures"] = {
            name: round(float((-tensor).exp()), 4)
            for name, tensor in model.state_dict().items()
            if name.endswith("log_scale")
        }
        for split in self.folder.splits:
            if split in recipe.data.train_on:
                continue
            row[split] = self.found(model, recipe, split, Whole)
            row[split]["validity alone"] = self.found(model, recipe, split, Flat)
        return row

    def found(self, model: ColourDepth, recipe: PretrainRecipe, split: str, kind: type["Whole"]) -> dict[str, Any]:
        """Retrieval among the pictures of a split."""
        samples = pair_samples(self.folder, [split])
        reader = create(recipe, torch.device("cpu")).reader
        pictures = kind(self.folder, samples, reader, crop=None, size=recipe.data.shape, depth=True)
        found = retrieve(model, pictures)
        figures = {name: round(value, 4) for name, value in found.figures.items()}
        chance = 1 / len(found.names)
        return {
            **figures,
            "pictures": len(found.names),
            "chance": round(chance, 4),
            "times chance": round(figures["r1"] / chance, 1),
        }

    def segmented(self, system: str, seed: int) -> dict[str, Any]:
        """Scores of a segmenter on test."""
        recipe, data = self.segmentation(system, seed), self.fewer if "few" in system else self.data
        run = self.runs / recipe.name
        if not (run / "model").is_dir() or (run / "checkpoints").is_dir():
            whole(segkit.train(recipe, data, out=self.runs, resume=run.is_dir()))
        predictor = segkit.Predictor(run / "model")
        rows = []
        for sample in self.folder.samples("test"):
            p = predict_sample(predictor, self.folder, self.folder.files[sample.name]).probabilities
            truth = self.folder.read_mask(sample, p.shape[1:])
            rows.append(counts_of(p, labels_of(p, self.folder.task, 0.5), truth, len(self.folder.classes)))
        counts = np.stack(rows)
        self.counts_file(system, seed).parent.mkdir(parents=True, exist_ok=True)
        np.save(self.counts_file(system, seed), counts)
        model = segkit.load(run / "model")
        figures = {name: round(float(value), 4) for name, value in scores_of(counts.sum(0), self.kept).items()}
        classes = [self.folder.classes[k] for k in self.kept]
        return {**figures, "classes": classes, "minutes": model.about["trained_on"]["minutes"]}

    def segmentation(self, system: str, seed: int) -> Recipe:
        """The recipe of a segmenter."""
        colour: dict[str, Any] = {"name": BACKBONE}
        depth: dict[str, Any] = {"name": BACKBONE}
        if "pretrained" in system:
            start = self.start(seed)
            colour["weights"] = str(start / "backbone.safetensors")
            depth["weights"] = str(start / "depth.safetensors")
        few = "few" in system
        pictures = len(self.folder.samples("train", "val"))
        each = round(pictures / len(self.few)) if few else 1
        return Recipe.model_validate(
            {
                **COMMON,
                "name": f"{system.replace(' ', '_')}_{seed}",
                "model": {
                    "backbone": colour,
                    "depth": depth,
                    "bridge": BRIDGE,
                    "encoding": {"name": "metres", "per_picture": True},
                    "neck": "unet",
                },
                "data": {
                    **COMMON["data"],
                    "train_on": ["train"] if few else ["train", "val"],
                    "crops_per_image": each,
                },
                "train": {**COMMON["train"], **TOOLS_BUDGET["train"], "epochs": self.epochs, "seed": seed},
            }
        )

    @property
    def few(self) -> list[str]:
        return list(self.folder.splits["train"][::EVERY])

    @property
    def fewer(self) -> Path:
        """A dataset folder of links whose train has only every eighth picture."""
        place = self.runs / "data" / f"{self.folder.name}_few"
        if not (place / "dataset.yaml").is_file():
            place.mkdir(parents=True, exist_ok=True)
            for kind in ("images", "masks", "depth"):
                if not (place / kind).is_symlink():
                    (place / kind).symlink_to((self.data / kind).resolve())
            said = yaml.safe_load((self.data / "dataset.yaml").read_text(encoding="utf-8"))
            said["splits"] = {**said["splits"], "train": self.few}
            (place / "dataset.yaml").write_text(yaml.safe_dump(said, sort_keys=False), encoding="utf-8")
        return place

    def counts_file(self, system: str, seed: int) -> Path:
        return self.runs / "counts" / f"{system.replace(' ', '_')}_{seed}.npy"

    def summarise(self) -> None:
        """Means and deviations over the seeds that are there, and what pretraining changes."""
        self._summarise_retrieval()
        print("\n| segmenter | IoU | F1 | NLL | seeds |\n" + "|---" * 5 + "|")
        for system in SYSTEMS[1:]:
            seeds = [seed for seed in self.seeds if f"{system}, seed {seed}" in self.results]
            if not seeds:
                continue
            rows = [self.results[f"{system}, seed {seed}"] for seed in seeds]
            spread = {name: spread_of([row[name] for row in rows]) for name in ("iou", "f1", "nll")}
            self.results[f"{system}, mean"] = {**spread, "seeds": seeds}
            print(
                f"| {system} | " + " | ".join(f"{m:.4f} ± {s:.4f}" for m, s in spread.values()) + f" | {len(seeds)} |"
            )
        for before, after in (("scratch", "pretrained"), ("few scratch", "few pretrained")):
            files = [[self.counts_file(system, seed) for seed in self.seeds] for system in (before, after)]
            pairs = [pair for pair in zip(*files, strict=True) if all(file.is_file() for file in pair)]
            if pairs:
                first, second = (np.stack([np.load(pair[i]) for pair in pairs]) for i in (0, 1))
                found = {**paired(first, second, self.kept), "seeds": len(pairs)}
                self.results[f"{after} minus {before}"] = found
                print(f"{after} minus {before}:", json.dumps(found))

    def _summarise_retrieval(self) -> None:
        there = [seed for seed in self.seeds if f"pretrain, seed {seed}" in self.results]
        rows = [self.results[f"pretrain, seed {seed}"] for seed in there]
        if not rows:
            return
        print("\n| split | pictures | chance | R@1 | R@5 | by validity alone, R@1 | place |\n" + "|---" * 7 + "|")
        summary: dict[str, Any] = {"seeds": there}
        for split in (name for name, value in rows[0].items() if isinstance(value, dict) and "chance" in value):
            figures = {name: spread_of([row[split][name] for row in rows]) for name in ("r1", "r5", "dense_r1")}
            figures["validity alone, r1"] = spread_of([row[split]["validity alone"]["r1"] for row in rows])
            summary[split] = figures
            told = [f"{figures[name][0]:.3f}" for name in ("r1", "r5", "validity alone, r1", "dense_r1")]
            print(f"| {split} | {rows[0][split]['pictures']} | {rows[0][split]['chance']:.4f} | {' | '.join(told)} |")
        self.results["pretrain, mean"] = summary


class Whole(SegmentationDataset):
    """Pictures whole, with their depth."""


class Flat(Whole):
    """The same with one distance wherever one was measured."""

    def __getitem__(self, key: tuple[int, int]) -> Item:
        item = super().__getitem__(key)
        item["depth"] = item["depth"].clone()
        item["depth"][:-1] = item["depth"][-1:]
        return item


if __name__ == "__main__":
    main()
