"""What ensembles are worth, and which: DRIVE and the membranes, at most four minutes a training on two cores.

    python benchmarks/ensemble_accuracy.py DRIVE [--membranes EM_ISBI2012] [--seeds 0 1 2] [--runs runs]

DRIVE and EM_ISBI2012 are dataset folders. Every system is trained on ``train``, fitted on ``val`` and scored on
``test``; whatever has probabilities is brought to its best temperature on ``val`` in the same way. Of every seed:

* the members: a U-Net, an attention U-Net and an FPN, narrow ones of four levels, trained one by one;
* them together: the mean, by their scores, fitted weights, fitted weights by class, a gate, the mean of logits;
* ``best member``: the one with the highest Dice on ``val``; the uniform mean is held against it by a paired bootstrap
  over the test images (95 % intervals of the differences in pooled Dice and in NLL);
* both with ``four views``: the picture as it is and flipped, averaged. Everything else sees each picture once.

Of the first seed also: ``stack``; ``early fusion``, one network with the first member's backbone and a ResNet18;
``joint``, the three members in one pass over the data; ``folds``, the first member three times, each without a third of
``train``; ``soup``, the first member trained on for half as long with three seeds, their weights averaged greedily, and
``soup's mean``, the same three as an ensemble, and ``trained on``, the first of them alone; ``student``, a network of
half the width, taught half by the mean and half by the masks, ``student1`` by the mean alone, ``deeper``, one of five
levels, ``narrow_decoder``, one of the whole width on the way down and half on the way up, ``taught_on``, the first
member trained on with the mean as teacher, and ``small``, the first without a teacher; ``weak``, a ResNet18 with a
stem, which learns little in the time, and the mean of all four and fitted weights ``with the weak one``.

Dice is pooled over the pixels of the test images inside the field of view, at threshold 0.5; calibration errors, NLL
and AURC as ``docs/metrics.md`` says. Seconds and memory are of a fresh process that predicts one test image, after one
before it: the median of five, and the peak resident size. Each finished training is kept in ``--runs``, and each row in
``benchmarks/results/ensemble_accuracy.json``: what is there is not made again. About two hours on two cores.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, cast

import numpy as np
from kept_rows import read, write
from machine import machine, status
from numpy.typing import NDArray
from whole_run import whole

import segkit
from segkit.data.masks import IGNORE
from segkit.evaluation.intervals import multiplicities
from segkit.fitting.soup import soup
from segkit.recipe import Recipe

RESULTS = Path(__file__).parent / "results" / "ensemble_accuracy.json"
# As many as four minutes have room for; trained on is half as long.
EPOCHS = {"unet": 33, "attention_unet": 28, "fpn": 28, "joint": 28, "folds": 33, "on": 16}
EPOCHS |= {"fused": 11, "weak": 13, "small": 38, "student": 38, "student1": 38, "deeper": 36}
EPOCHS |= {"narrow_decoder": 33, "taught_on": 24}
RESAMPLES = 2000


def part(width: int, levels: int = 4) -> dict[str, Any]:
    return {"name": "stem", "width": width, "depth": levels}


def unet(width: int, neck: str = "unet", levels: int = 4) -> dict[str, Any]:
    widths = [width * 2**level for level in range(levels - 1)]
    return {"backbone": part(width, levels), "neck": {"name": neck, "widths": widths}}


UNET = unet(16)
PYRAMID = {"backbone": part(16), "neck": {"name": "fpn", "width": 32}}
FUSED = {"backbone": {"name": "joint", "of": [part(16), "resnet18"]}, "neck": "unet"}
WEAK = {"backbone": "resnet18", "stem": 16, "neck": "unet"}
SMALL = unet(8)
# Of a student: its network, and how much of its loss is the teacher's.
STUDENTS = {"student": (SMALL, 0.5), "student1": (SMALL, 1.0), "deeper": (unet(8, levels=5), 0.5)}
STUDENTS |= {"narrow_decoder": ({**UNET, "neck": SMALL["neck"]}, 0.5), "taught_on": (UNET, 0.5)}
MEMBERS = {"unet": UNET, "attention_unet": unet(16, "attention_unet"), "fpn": PYRAMID}

COMMON: dict[str, Any] = {
    "data": {
        "train_on": ["train"],
        "validate_on": None,
        "crop": 224,
        "inside_roi": False,
        "augment": [
            {"HorizontalFlip": {"p": 0.5}},
            {"VerticalFlip": {"p": 0.5}},
            {"Affine": {"scale": [0.8, 1.25], "rotate": [-15, 15], "p": 0.5}},
            {"RandomBrightnessContrast": {"brightness_limit": 0.2, "contrast_limit": 0.2, "p": 0.5}},
        ],
    },
    "train": {"batch": 2, "weight_decay": 0.02, "ema": 0.99, "keep": "last"},
    "predict": {"tile": 640},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("drive", type=Path)
    parser.add_argument("--membranes", type=Path)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--cost-of", nargs=2, type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.cost_of:
        print(json.dumps(cost(*arguments.cost_of)))
        return
    arguments.runs.mkdir(parents=True, exist_ok=True)
    of_drive = [Bench(arguments.drive, seed, arguments.runs, crops=8) for seed in arguments.seeds]
    of_membranes = [Bench(arguments.membranes, 0, arguments.runs, crops=6)] if arguments.membranes else []
    for benches in (of_drive, of_membranes):
        for bench in benches:
            bench.run()
        for bench in benches[:1]:
            bench.run_further()


class Bench:
    """The systems of one dataset and seed; their rows are written as soon as they are there."""

    def __init__(self, data: Path, seed: int, runs: Path, *, crops: int) -> None:
        self.data, self.seed, self.runs, self.crops = data, seed, runs, crops
        self.folder = segkit.open_dataset(data)
        self.title = f"{self.folder.name}, seed {seed}"

    def alone(self) -> dict[str, Path]:
        """The members' models, trained one by one."""
        return {
            name: self.trained(name, model=parts, seed=index) for index, (name, parts) in enumerate(MEMBERS.items())
        }

    def run(self) -> None:
        """The members, and what is made of them, as far as it isn't there yet."""
        alone = self.alone()
        for name, place in alone.items():
            self.row(name, lambda place=place: self.fitted([place], "uniform"))
        for weights in ("uniform", "score", "member", "class", "gate"):
            self.row(weights, lambda weights=weights: self.fitted(list(alone.values()), weights))
        self.row("mean of logits", lambda: self.fitted(list(alone.values()), "uniform", of="logits"))
        best = self.against_best(list(alone))
        self.row("best member, four views", lambda: self.fitted([alone[best]], "uniform", tta="flip"))
        self.row("uniform, four views", lambda: self.fitted(list(alone.values()), "uniform", tta="flip"))

    def run_further(self) -> None:
        """Other ways to an ensemble, and from it to one model."""
        alone = self.alone()
        self.row("stack", lambda: self.fitted(list(alone.values()), "stack"))
        self.row("early fusion", lambda: self.fitted([self.trained("fused", model=FUSED)], "uniform"))
        joint = {"members": [{"name": name, **parts} for name, parts in MEMBERS.items()], "joint": True}
        self.row("joint", lambda: self.fitted([self.trained("joint", ensemble=joint)], "uniform"))
        self.row("folds", lambda: self.fitted([self.trained("folds", model=UNET, folds=3)], "uniform"))
        on = [
            self.trained(f"on{i}", model={**UNET, "start": str(alone["unet"])}, epochs=EPOCHS["on"], rate=5e-4, seed=i)
            for i in range(3)
        ]
        self.row("soup", lambda: self.fitted([self.soup(on)], "uniform"))
        self.row("soup's mean", lambda: self.fitted(on, "uniform"))
        self.row("trained on", lambda: self.fitted(on[:1], "uniform"))
        self.row("small", lambda: self.fitted([self.trained("small", model=SMALL)], "uniform"))
        for name in STUDENTS:
            self.row(name, lambda name=name: self.fitted([self.student(name)], "uniform"))
        weak = self.trained("weak", model=WEAK)
        self.row("weak", lambda: self.fitted([weak], "uniform"))
        for weights in ("uniform", "member"):
            self.row(
                f"{weights} with the weak one", lambda weights=weights: self.fitted([*alone.values(), weak], weights)
            )

    def place(self, name: str) -> Path:
        """Where a fitted model is kept."""
        return self.runs / "fitted" / f"{self.folder.name}_{self.seed}_{name.replace(' ', '_')}"

    def row(self, name: str, make: Callable[[], segkit.Ensemble]) -> None:
        """Make a system, save it and score it, unless its row is there."""
        results, key = read(RESULTS), f"{self.title}, {name}"
        if key not in results:
            place = self.place(name)
            segkit.save(make(), place)
            scored = self.scored(place)
            write(RESULTS, key, {**scored, **self.cost(place), "machine": machine()})
        print(key, json.dumps(read(RESULTS)[key]), flush=True)

    def recipe(
        self, name: str, *, epochs: int | None = None, rate: float = 1e-3, seed: int | None = None, **parts: Any
    ) -> Recipe:
        """The recipe of one training."""
        values = {**COMMON, **parts, "name": f"{self.folder.name}_{self.seed}_{name}"}
        values["data"] = {**COMMON["data"], "crops_per_image": self.crops}
        own = {"epochs": epochs or EPOCHS[name], "learning_rate": rate, "seed": 100 * self.seed + (seed or 0)}
        values["train"] = {**COMMON["train"], **own}
        return Recipe.model_validate(values)

    def trained(self, name: str, **parts: Any) -> Path:
        """The model of a training, made unless it is finished; what was begun goes on."""
        recipe = self.recipe(name, **parts)
        run = self.runs / recipe.name
        if not (run / "model").is_dir() or (run / "checkpoints").is_dir():
            whole(segkit.train(recipe, self.data, out=self.runs, resume=run.is_dir()))
        return run / "model"

    def student(self, name: str) -> Path:
        """The model of a student of the uniform mean."""
        network, share = STUDENTS[name]
        begun = {"start": str(self.alone()["unet"])} if name == "taught_on" else {}
        recipe = self.recipe(name, model={**network, **begun}, rate=5e-4 if begun else 1e-3)
        run = self.runs / recipe.name
        if not (run / "model").is_dir() or (run / "checkpoints").is_dir():
            where: dict[str, Any] = {"out": self.runs, "resume": run.is_dir()}
            whole(segkit.distill(self.place("uniform"), self.data, recipe, share=share, **where))
        return run / "model"

    def soup(self, places: list[Path]) -> Path:
        """The greedy soup of models."""
        made = soup({place.parent.name: model(place) for place in places}, self.data)
        place = self.runs / f"{self.folder.name}_{self.seed}_soup" / "model"
        print(f"{self.title}: soup of {', '.join(made.kept)}", flush=True)
        return segkit.save(made.model, place)

    def fitted(
        self, places: list[Path], weights: str, of: str = "probabilities", tta: str | None = None
    ) -> segkit.Ensemble:
        """The models, or their members, as one ensemble that is fitted on ``val``."""
        members: list[Any] = []
        for place in places:
            found = segkit.load(place)
            members += list(found.members) if isinstance(found, segkit.Ensemble) else [found]
        names = [f"m{i}" for i in range(len(members))]
        ensemble = segkit.Ensemble(members, names=names)
        ensemble.about = dict(members[0].about)
        ensemble.about["predict"] = {**ensemble.about["predict"], "tta": tta}
        fitted = segkit.fit(ensemble, self.data, "val", weights=weights, of=of)
        for note in fitted.notes:
            print(f"{self.title}: {note}", flush=True)
        return fitted.model

    def scored(self, place: Path) -> dict[str, Any]:
        """Figures on ``test``, and Dice on ``val``."""
        found = segkit.load(place)
        assert isinstance(found, segkit.Ensemble)
        members = cast("list[segkit.Segmenter]", list(found.members))
        metrics, val = (segkit.evaluate(found, self.data, split).metrics for split in ("test", "val"))
        name = self.folder.classes[1]
        pooled = metrics["pooled"]["per_class"][name]
        kept = found.about.get("fitted_on", {}).get("kept")
        return {
            "dice": round(pooled["dice"], 4),
            "dice, mean over images": round(metrics["mean_over_images"]["per_class"][name]["dice"], 4),
            **{key: round(metrics["calibration"][key], 5) for key in ("ece", "adaptive_ece", "nll")},
            "aurc": round(metrics["selective"]["aurc"], 5),
            "errors in the most uncertain tenth": round(metrics["selective"]["errors_in_most_uncertain"], 4),
            "minutes of training": [member.about["trained_on"]["minutes"] for member in members],
            "dice on val": round(val["pooled"]["per_class"][name]["dice"], 4),
            **({"fit kept": kept} if kept is not None else {}),
        }

    def cost(self, place: Path) -> dict[str, float]:
        """Seconds and peak memory of one image, in a fresh process."""
        image = self.folder.samples("test")[0].image
        command = [sys.executable, __file__, str(self.data), "--cost-of", str(place), str(image)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
        return found

    def against_best(self, names: list[str]) -> str:
        """The uniform mean against the member with the best Dice on ``val``, whose name is returned."""
        key = f"{self.title}, uniform against best member"
        results = read(RESULTS)
        if key not in results:
            best = max(names, key=lambda name: results[f"{self.title}, {name}"]["dice on val"])
            rows = [self.per_image(self.place(name)) for name in (best, "uniform")]
            write(RESULTS, key, {"best member": best, **paired(*rows)})
        row = read(RESULTS)[key]
        print(key, json.dumps(row), flush=True)
        return str(row["best member"])

    def per_image(self, place: Path) -> NDArray[np.float64]:
        """TP, FP, FN, nats and pixels of every test image, [N, 5]."""
        predictor = segkit.Predictor(segkit.load(place))
        rows = []
        for sample in self.folder.samples("test"):
            prediction = predictor.predict(sample.image)
            truth = self.folder.read_mask(sample, prediction.labels.shape)
            counted = truth != IGNORE
            p, t, found = (
                prediction.probabilities[0][counted].astype(float),
                truth[counted] == 1,
                prediction.labels[counted],
            )
            nats = -np.log(np.where(t, p, 1 - p).clip(1e-7)).sum()
            rows.append([(found[t] == 1).sum(), (found[~t] == 1).sum(), (found[t] == 0).sum(), nats, counted.sum()])
        return np.array(rows, float)


def model(place: Path) -> segkit.Segmenter:
    found = segkit.load(place)
    assert isinstance(found, segkit.Segmenter)
    return found


def paired(first: NDArray[np.float64], second: NDArray[np.float64]) -> dict[str, Any]:
    """Differences, second minus first, with 95 % intervals over images drawn alike for both."""
    times = np.concatenate(list(multiplicities(len(first), RESAMPLES, 0)))
    found: dict[str, Any] = {}
    for name, figure in (("dice", dice), ("nll", nll)):
        drawn = figure(times @ second) - figure(times @ first)
        low, high = np.quantile(drawn, [0.025, 0.975])
        difference = figure(second.sum(0)) - figure(first.sum(0))
        found[f"{name} difference"] = round(float(difference), 5)
        found[f"{name} interval"] = [round(float(low), 5), round(float(high), 5)]
    return found


def dice(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    tp, fp, fn = sums[..., 0], sums[..., 1], sums[..., 2]
    return 2 * tp / (2 * tp + fp + fn)


def nll(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    return sums[..., 3] / sums[..., 4]


def cost(place: Path, image: Path) -> dict[str, float]:
    predictor = segkit.Predictor(place)
    predictor.predict(image)
    times = []
    for _ in range(5):
        began = time.perf_counter()
        predictor.predict(image)
        times.append(time.perf_counter() - began)
    # Not ru_maxrss, which a process takes over from the one that started it.
    return {"seconds an image": round(median(times), 3), "peak MiB": round(status("VmHWM") / 1024, 1)}


if __name__ == "__main__":
    main()
