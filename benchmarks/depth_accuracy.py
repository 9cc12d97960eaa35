"""What depth is worth, and which way of telling it to a network: potholes and tools, at most four minutes a training.

    python benchmarks/depth_accuracy.py POTHOLES TOOLS [--seeds 0 1 2] [--only SYSTEM...] [--longer] [--runs runs]

POTHOLES is a dataset folder with disparity in no unit, TOOLS one with depth in millimetres (it may be left out). Every
system is one ResNet18 with a U-Net's neck, or two of them, from random weights: trained on train + val for the same
epochs with the same crops, the last averaged weights kept, scored on test at threshold 0.5. Of every seed:

* ``colour``: the picture alone; ``depth``: the disparity, or depth, as a grey picture alone, whose augmentation leaves
  its values as they are (a folder of links is made of it in --runs);
* ``fourth``: depth and where it was measured as further channels of the picture; ``concat``, ``se``, ``gated`` and
  ``attention``: a backbone of its own for depth, told to that of the picture by bridges of that name (on the tools
  those of --bridges alone);
* ``late``: the mean of the probabilities of ``colour`` and ``depth``; ``both``: of the best bridge and ``depth``;
* ``dropout``: the best bridge again, with depth taken away from 30 % of the crops;
* ``frozen``: the best bridge on the model of ``colour``, which is taken over and left as it is, so that without depth
  it says what that one says; its minutes are those of depth's branch and the bridges alone.

Which bridge is the best one is decided without the test pictures: by the IoU on val of trainings on train alone, of the
first seed (--best names one instead). Whatever takes depth is also scored without any ("no depth": what a bridge then
says is to be held against ``colour``), and on the potholes with the holes of the disparity filled by the nearest value
measured and called measured ("holes filled": failed stereo lies in potholes more often than not, so that its absence
tells where they are; there it doesn't).

IoU, F1 and NLL are pooled over all test pixels: of the pothole, or the mean over the classes that occur in the test
masks, background included, which the rows name; NLL is nats a pixel. Summaries are means over the seeds with their
standard deviation. Of the best bridge against others, differences are averaged over the seeds, their 95 % intervals
from test pictures drawn alike for both: the potholes' 17 are of fewer holes, so these are narrower than they should be.
FLOPs are of one picture, a multiplication and an addition counted as two; seconds are the median of five pictures.

The model was not chosen by scores: two ResNet18 with bridges take about as many operations as one ResNet34 U-Net,
``concat`` a third more, which leaves 333 steps of four crops in four minutes of two quiet cores (350 on the tools;
--longer: 432 and 450 of eight, at half the learning rate). How both were chosen is told in ``docs/results.md``. Each
finished training is kept in --runs, and each row in ``benchmarks/results/depth_accuracy.json``, or
``depth_accuracy_longer.json``: what is there is not made again, so the two budgets want folders of their own (--results
names another file). Summaries and intervals are made anew of all rows each time; intervals need the per-picture counts
in --runs. With three seeds an hour and a half for the potholes, forty minutes for the tools.
"""

import argparse
import json
import time
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from depth_folders import Places
from machine import machine
from numpy.typing import NDArray
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from whole_run import whole

import segkit
from segkit.data.masks import IGNORE
from segkit.evaluation.calibration import SMALLEST
from segkit.evaluation.intervals import multiplicities
from segkit.labels import labels_of
from segkit.prediction.of_sample import predict_sample
from segkit.recipe import Recipe

RESULTS = Path(__file__).parent / "results" / "depth_accuracy.json"
BACKBONE = "resnet18"
BRIDGES = ["concat", "se", "gated", "attention"]
SYSTEMS = ["colour", "depth", "fourth", *BRIDGES, "late", "both", "dropout", "frozen"]
WITH_THE_BEST = ("both", "dropout", "frozen")
RESAMPLES = 2000

GEOMETRY: list[dict[str, Any]] = [  # "light", but for the brightness and contrast of pictures
    {"HorizontalFlip": {"p": 0.5}},
    {"Affine": {"scale": [0.9, 1.1], "rotate": [-10, 10], "p": 0.5}},
]
COMMON: dict[str, Any] = {
    "data": {"train_on": ["train", "val"], "validate_on": None, "crop": 192, "augment": "light"},
    "loss": {"cross_entropy": 1.0, "dice": 1.0},
    "train": {"weight_decay": 0.02, "ema": 0.99, "keep": "last"},
    "predict": {"tile": None, "threshold": 0.5},
}
Budget = dict[str, dict[str, Any]]
"""Some keys of a recipe's ``data`` and ``train``."""

# Of 50 pictures with potholes and 200 with tools: 333 and 350 steps, or --longer 450.
BUDGET: Budget = {"data": {"crops_per_image": 3}, "train": {"batch": 4, "epochs": 9, "learning_rate": 2e-3}}
TOOLS_BUDGET: Budget = {"data": {"crops_per_image": 1}, "train": {"batch": 4, "epochs": 7, "learning_rate": 2e-3}}
LONGER: Budget = {"data": {"crops_per_image": 3}, "train": {"batch": 8, "epochs": 24, "learning_rate": 1e-3}}
TOOLS_LONGER: Budget = {"data": {"crops_per_image": 1}, "train": {"batch": 8, "epochs": 18, "learning_rate": 1e-3}}

Rows = NDArray[np.float64]
"""A test picture a row: the confusion of true and predicted classes, flat, then nats and pixels."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("potholes", type=Path)
    parser.add_argument("tools", type=Path, nargs="?")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", choices=SYSTEMS, default=SYSTEMS, metavar="SYSTEM")
    parser.add_argument("--bridges", nargs="+", choices=BRIDGES, default=["concat", "gated"], help="on the tools")
    parser.add_argument("--best", choices=BRIDGES, help="the best bridge, instead of looking for it")
    parser.add_argument("--longer", action="store_true", help="432 steps of eight crops, 450 on the tools")
    parser.add_argument("--epochs", type=int, help="of every training, to see that all of it runs")
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--results", type=Path)
    arguments = parser.parse_args()
    arguments.results = arguments.results or RESULTS.with_stem(RESULTS.stem + ("_longer" if arguments.longer else ""))
    budget, of_tools = (LONGER, TOOLS_LONGER) if arguments.longer else (BUDGET, TOOLS_BUDGET)
    benches = [Bench(arguments.potholes, BRIDGES, budget, arguments, filled=True)]
    if arguments.tools:
        benches.append(Bench(arguments.tools, arguments.bridges, of_tools, arguments, filled=False))
    for bench in benches:
        bench.run()


class Bench:
    """The systems of one dataset; their rows are written as soon as they are there."""

    def __init__(
        self, data: Path, bridges: list[str], budget: Budget, arguments: argparse.Namespace, *, filled: bool
    ) -> None:
        self.data, self.bridges, self.seeds, self.runs = data, bridges, arguments.seeds, arguments.runs
        epochs = {"epochs": arguments.epochs} if arguments.epochs else {}
        self.budget = {**budget, "train": {**budget["train"], **epochs}}
        self.results = Results(arguments.results)
        self.folder = segkit.open_dataset(data)
        self.named_best, self.filled = arguments.best, filled
        self.systems = [name for name in arguments.only if name not in BRIDGES or name in bridges]
        self.places = Places(self.folder, self.runs / "data" / self.folder.name)

    def run(self) -> None:
        """Train and score what isn't there yet, then sum up."""
        for seed in self.seeds:
            for system in self.systems:
                self.row(system, seed)
        self.summarise()

    @cached_property
    def best(self) -> str:
        """The bridge that is best on val, trained on train alone."""
        if self.named_best:
            return str(self.named_best)
        key = f"{self.folder.name}, chosen on val"
        if key not in self.results:
            seed = self.seeds[0]
            scores = {}
            for bridge in self.bridges:
                place = self.trained(bridge, seed, choosing=True)
                report = segkit.evaluate(place, self.data, "val")
                pooled = report.metrics["pooled"]
                binary = self.folder.task == "binary"
                scores[bridge] = round(
                    pooled["per_class"][self.folder.classes[1]]["iou"] if binary else pooled["mean_iou"], 4
                )
            best = max(scores, key=lambda name: scores[name])
            self.results[key] = {"best bridge": best, "seed": seed, "iou on val": scores}
        return str(self.results[key]["best bridge"])

    def bridge_of(self, system: str) -> str:
        return self.best if system in WITH_THE_BEST else system

    def row(self, system: str, seed: int) -> None:
        """Train a system and score it, unless its row is there."""
        key = f"{self.folder.name}, {system}, seed {seed}"
        if key not in self.results:
            places = [self.trained(part, seed) for part in self.parts(system)]
            row: dict[str, Any] = {"bridge": self.best} if system in WITH_THE_BEST else {}
            for how, folders in self.ways(system).items():
                rows = self.counted(places, folders)
                file = self.counts_file(system, seed, how)
                file.parent.mkdir(parents=True, exist_ok=True)
                np.save(file, rows)
                row |= self.figures(rows) if how == "" else {how: self.figures(rows)}
            row |= self.cost(places, self.ways(system)[""])
            self.results[key] = {**row, "machine": machine()}
        print(key, json.dumps(self.results[key]), flush=True)

    def parts(self, system: str) -> tuple[str, ...]:
        """The systems that are trained for it."""
        return {"late": ("colour", "depth"), "both": (self.best, "depth")}.get(system, (system,))

    def ways(self, system: str) -> dict[str, list[Path]]:
        """How a system is scored: the folder of each of its parts, by what is done to depth."""
        if system == "colour":
            return {"": [self.data]}
        if system == "depth":
            return {"": [self.places.depth]} | ({"holes filled": [self.places.filled_depth]} if self.filled else {})
        if system in ("late", "both"):
            both = {"": [self.data, self.places.depth]}
            filled = self.data if system == "late" else self.places.filled
            return both | ({"holes filled": [filled, self.places.filled_depth]} if self.filled else {})
        found = {"": [self.data], "no depth": [self.places.no_depth]}
        return found | ({"holes filled": [self.places.filled]} if self.filled else {})

    def trained(self, system: str, seed: int, *, choosing: bool = False) -> Path:
        """The model of a training, made unless it is finished; what was begun goes on."""
        recipe = self.recipe(system, seed, choosing=choosing)
        run = self.runs / recipe.name
        if not (run / "model").is_dir() or (run / "checkpoints").is_dir():
            data = self.places.depth if system == "depth" else self.data
            whole(segkit.train(recipe, data, out=self.runs, resume=run.is_dir()))
        return run / "model"

    def recipe(self, system: str, seed: int, *, choosing: bool) -> Recipe:
        """The recipe of one training."""
        model: dict[str, Any] = {"backbone": BACKBONE, "neck": "unet"}
        data = {**COMMON["data"], **self.budget["data"]}
        if system == "depth":
            data |= {"channels": 1, "window": self.places.window, "augment": GEOMETRY}
        elif system == "fourth":
            model["depth"] = "stack"
        elif system != "colour":
            model |= {"depth": BACKBONE, "bridge": self.bridge_of(system)}
        train = {**COMMON["train"], **self.budget["train"], "seed": seed}
        if system == "dropout":
            data["depth_dropout"] = 0.3
        elif system == "frozen":
            model = {**model, "start": str(self.trained("colour", seed))}
            train["freeze"] = "colour"
        if choosing:
            data["train_on"] = ["train"]
        name = f"{self.folder.name}_{seed}_{system}" + ("_chosen" if choosing else "")
        return Recipe.model_validate({**COMMON, "name": name, "model": model, "data": data, "train": train})

    def counted(self, places: Sequence[Path], folders: Sequence[Path]) -> Rows:
        """What the mean of models says of every test picture, each with what its own folder gives it, [N, K·K + 2]."""
        parts = [
            (segkit.Predictor(place), segkit.open_dataset(path)) for place, path in zip(places, folders, strict=True)
        ]
        rows = []
        for sample in self.folder.samples("test"):
            said = [predict_sample(each, folder, folder.files[sample.name]).probabilities for each, folder in parts]
            probabilities = np.mean(said, axis=0)
            truth = self.folder.read_mask(sample, probabilities.shape[1:])
            labels = labels_of(probabilities, self.folder.task, 0.5)
            rows.append(counts_of(probabilities, labels, truth, len(self.folder.classes)))
        return np.stack(rows)

    def figures(self, rows: Rows) -> dict[str, Any]:
        """Scores of all test pictures together."""
        found = {name: round(float(value), 4) for name, value in scores_of(rows.sum(0), self.kept).items()}
        return {**found, "classes": [self.folder.classes[k] for k in self.kept]}

    @cached_property
    def kept(self) -> list[int]:
        """Ids of the classes that scores are means over."""
        if self.folder.task == "binary":
            return [1]
        there = {int(k) for sample in self.folder.samples("test") for k in np.unique(self.folder.read_mask(sample))}
        return sorted(there - {IGNORE})

    def cost(self, places: Sequence[Path], folders: Sequence[Path]) -> dict[str, Any]:
        """Size and work of the models that are averaged, seconds a picture, and minutes of training."""
        total = {"parameters": 0, "gflops": 0.0, "seconds a picture": 0.0, "minutes": 0.0}
        for place, path in zip(places, folders, strict=True):
            model, folder = segkit.load(place), segkit.open_dataset(path)
            assert isinstance(model, segkit.Segmenter)
            sample = folder.files[self.folder.samples("test")[0].name]
            total["parameters"] += sum(parameter.numel() for parameter in model.parameters())
            total["gflops"] += flops(model, folder.read_mask(sample).shape) / 1e9
            total["minutes"] += model.about["trained_on"]["minutes"]
            predictor = segkit.Predictor(model)
            predict_sample(predictor, folder, sample)
            times = []
            for _ in range(5):
                began = time.perf_counter()
                predict_sample(predictor, folder, sample)
                times.append(time.perf_counter() - began)
            total["seconds a picture"] += median(times)
        return {name: round(value, 3) for name, value in total.items()}

    def counts_file(self, system: str, seed: int, how: str) -> Path:
        name = f"{self.folder.name}_{seed}_{system}" + (f"_{how.replace(' ', '_')}" if how else "")
        return self.runs / "counts" / f"{name}.npy"

    def summarise(self) -> None:
        """Means and deviations over the seeds, and the best bridge against the others."""
        print(f"\n| {self.folder.name} | IoU | F1 | NLL | parameters | GFLOPs | s a picture | minutes |")
        print("|" + "---|" * 8)
        for system in self.systems:
            found = [self.results[f"{self.folder.name}, {system}, seed {seed}"] for seed in self.seeds]
            for how in self.ways(system):
                rows = [row if how == "" else row[how] for row in found]
                spread = {name: spread_of([row[name] for row in rows]) for name in ("iou", "f1", "nll")}
                title = system + (f", {how}" if how else "")
                summary: dict[str, Any] = {**spread, "seeds": self.seeds}
                if how == "":
                    costs = ("parameters", "gflops", "seconds a picture", "minutes")
                    summary |= {name: round(float(np.mean([row[name] for row in found])), 3) for name in costs}
                    shown = [summary[name] for name in costs]
                else:
                    shown = [""] * 4
                self.results[f"{self.folder.name}, {title}"] = summary
                cells = [f"{mean:.4f} ± {deviation:.4f}" for mean, deviation in spread.values()]
                print(f"| {title} | " + " | ".join(map(str, [*cells, *shown])) + " |", flush=True)
        known = {*WITH_THE_BEST} & {*self.systems} or {*self.bridges} <= {*self.systems}
        if not self.named_best and not known:
            return  # to know the best bridge would take trainings that nobody asked for
        for first, second in self.pairs():
            files = [[self.counts_file(system, seed, how) for seed in self.seeds] for system, how in (first, second)]
            there = all(file.is_file() for side in files for file in side)
            if not there or not {first[0], second[0]} <= set(self.systems):
                continue
            rows = [np.stack([np.load(file) for file in side]) for side in files]
            name = " minus ".join(", ".join(filter(None, side)) for side in (second, first))
            self.results[f"{self.folder.name}, {name}"] = {**paired(*rows, self.kept), "seeds": self.seeds}
            print(f"{self.folder.name}, {name}:", json.dumps(self.results[f"{self.folder.name}, {name}"]), flush=True)

    def pairs(self) -> list[tuple[tuple[str, str], tuple[str, str]]]:
        """What is held against what: system and what is done to depth, the second minus the first."""
        best = self.best
        found = [((other, ""), (best, "")) for other in ("colour", "depth", "fourth", "late")]
        found += [(("depth", ""), ("both", ""))]
        found += [(("colour", ""), (system, "no depth")) for system in (best, "dropout", "frozen")]
        found += [((best, ""), (system, "")) for system in ("dropout", "frozen")]
        return found + ([((best, ""), (best, "holes filled"))] if self.filled else [])


class Results:
    """Rows in a file, read again each time: another run may write some too."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __contains__(self, key: str) -> bool:
        return key in self._all()

    def __getitem__(self, key: str) -> dict[str, Any]:
        return self._all()[key]

    def __setitem__(self, key: str, row: dict[str, Any]) -> None:
        rows = {**self._all(), key: row}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(json.dumps(rows, indent=1) + "\n")

    def _all(self) -> dict[str, dict[str, Any]]:
        return json.loads(self.path.read_text()) if self.path.is_file() else {}


def counts_of(probabilities: NDArray[Any], labels: NDArray[Any], truth: NDArray[Any], classes: int) -> Rows:
    """One picture's confusion, flat, rows the truth; its nats; its pixels."""
    counted = truth != IGNORE
    true, found = truth[counted].astype(np.int64), labels[counted].astype(np.int64)
    p = probabilities[:, counted].astype(np.float64)
    of_truth = np.where(true == 1, p[0], 1 - p[0]) if len(p) == 1 else np.take_along_axis(p, true[None], axis=0)[0]
    confusion = np.bincount(true * classes + found, minlength=classes * classes)
    return np.array([*confusion, -np.log(of_truth.clip(SMALLEST)).sum(), true.size], np.float64)


def scores_of(sums: Rows, kept: Sequence[int]) -> dict[str, Rows]:
    """IoU and F1, means over some classes, and NLL, of sums [..., K·K + 2] of pictures' rows."""
    classes = int((sums.shape[-1] - 2) ** 0.5)
    confusion = sums[..., :-2].reshape(*sums.shape[:-1], classes, classes)
    right = np.diagonal(confusion, axis1=-2, axis2=-1)[..., kept]
    either = (confusion.sum(-1) + confusion.sum(-2))[..., kept]  # TP + FN + TP + FP
    with np.errstate(invalid="ignore"):  # a class that isn't in what was drawn counts for nothing there
        iou, f1 = np.nanmean(right / (either - right), axis=-1), np.nanmean(2 * right / either, axis=-1)
    return {"iou": iou, "f1": f1, "nll": sums[..., -2] / sums[..., -1]}


def paired(first: Rows, second: Rows, kept: Sequence[int]) -> dict[str, Any]:
    """Second minus first, rows [seeds, N, ...] of the same pictures, averaged over the seeds, with 95 % intervals."""
    times = np.concatenate(list(multiplicities(first.shape[1], RESAMPLES, 0)))
    whole = [scores_of(rows.sum(1), kept) for rows in (first, second)]
    drawn = [scores_of(times @ rows, kept) for rows in (first, second)]  # [seeds, resamples]
    found: dict[str, Any] = {}
    for name in ("iou", "f1", "nll"):
        found[name] = round(float((whole[1][name] - whole[0][name]).mean()), 4)
        low, high = np.quantile((drawn[1][name] - drawn[0][name]).mean(0), [0.025, 0.975])
        found[f"{name} interval"] = [round(float(low), 4), round(float(high), 4)]
    return found


def spread_of(values: Sequence[float]) -> tuple[float, float]:
    """Mean and standard deviation; of one value no deviation is known, it is 0."""
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    return round(float(np.mean(values)), 4), round(deviation, 4)


@torch.inference_mode()
def flops(model: segkit.Segmenter, size: tuple[int, int]) -> int:
    """Operations of one picture of that size, all of its depth measured."""
    reader = model.reader
    image = torch.rand(1, reader.channels, *size)
    depth = torch.ones(1, reader.depth_channels + 1, *size) if reader.depth_channels else None
    counter = FlopCounterMode(display=False)
    with counter, sdpa_kernel(SDPBackend.MATH):  # products of matrices, which are counted with any mask
        model.eval()(image, depth)
    return int(counter.get_total_flops())


if __name__ == "__main__":
    main()
