"""The demonstration: the whole way once, from a dataset that it draws to an ensemble's masks and a page about them."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console

import segkit
from segkit.artifact import load_segmentation
from segkit.data.folder import DatasetFolder, Sample, open_dataset
from segkit.data.masks import IGNORE
from segkit.data.synthetic import draw_cells
from segkit.demo_page import Command, Example, Row, demo_page
from segkit.drawing.error_picture import draw_errors
from segkit.drawing.heat import draw_heat
from segkit.drawing.overlay import draw_overlay
from segkit.ensemble import Ensemble
from segkit.errors import UsageError
from segkit.evaluation.report import Report, evaluate
from segkit.files import write_whole
from segkit.given_path import quoted
from segkit.model import Segmenter
from segkit.page import Picture
from segkit.prediction.predictor import Prediction, Predictor
from segkit.statistics import maximum_entropy
from segkit.training.run import train

RECIPE = "demo"
IMAGES, SIZE, SPLITS = 120, 192, (0.8, 0.1, 0.1)
SHOWN = 6  # test pictures on the page


@dataclass(frozen=True)
class DemoResult:
    """What the demonstration leaves.

    Attributes:
        page: the HTML page.
        model: the trained ensemble's folder.
        dice: foreground Dice, pooled over the test pictures, of ``ensemble`` and of each member by name.
        seconds: how long it all took.
    """

    page: Path
    model: Path
    dice: dict[str, float]
    seconds: float


def _drawn_earlier(data: Path) -> bool:
    """Whether a folder's pictures are all an earlier demonstration's, which may have been stopped while drawing."""
    names = {f"cells_{number:03d}" for number in range(IMAGES)}
    images = data / "images"
    return images.is_dir() and {each.stem for each in images.iterdir()} <= names


def demo(out: str | Path = "segkit-demo", seed: int = 0) -> DemoResult:
    """Draw a dataset, train an ensemble of two, score it, predict the test pictures and write a page about it.

    Everything goes into ``out``: ``cells/`` (the dataset), ``runs/`` (the training), ``masks/``, ``report/`` and
    ``index.html``, whose path is the last line printed.

    Raises:
        UsageError: ``out`` holds something else.
    """
    began = time.perf_counter()
    out, say = Path(out), Console(soft_wrap=True, highlight=False).print
    if out.is_file() or (out.is_dir() and any(out.iterdir()) and not _drawn_earlier(out / "cells")):
        raise UsageError(f"{out}: not empty and not an earlier demonstration; choose another folder with --out")

    say(f"[bold]1/4[/bold] drawing {IMAGES} pictures of stained cells, with their masks, into {out / 'cells'}")
    data = draw_cells(out / "cells", images=IMAGES, size=SIZE, seed=seed, splits=SPLITS)

    say("\n[bold]2/4[/bold] training the members of an ensemble, one after the other, each from random weights")
    run = train(RECIPE, data, [f"train.seed={seed}"], out=out / "runs")
    if run.interrupted:
        raise KeyboardInterrupt
    model = load_segmentation(run.directory / "model")
    assert isinstance(model, Ensemble)  # so the recipe says

    folder = open_dataset(data)
    say("\n[bold]3/4[/bold] scoring the ensemble and each member on the test pictures, which no member has seen")
    report = evaluate(model, data)
    report.save(out / "report")
    say(report.table(), markup=False)

    samples = folder.samples("test")
    say(f"\n[bold]4/4[/bold] predicting the {len(samples)} test pictures into {out / 'masks'}")
    examples = _predict(model, folder, samples, report, out / "masks")

    seconds = time.perf_counter() - began
    page = out / "index.html"
    write_whole(page, _page(model, run.directory, folder, report, examples, seed, seconds))
    say(f"\nDone in {seconds:.0f} s. Open this page in a browser; it says how to go on:")
    say(str(page), markup=False)
    foreground = folder.classes[-1]
    scores = {"ensemble": report.metrics, **report.members}
    dice = {name: float(each["pooled"]["per_class"][foreground]["dice"] or 0) for name, each in scores.items()}
    return DemoResult(page, run.directory / "model", dice, seconds)


def _predict(model: Ensemble, folder: DatasetFolder, samples: list[Sample], report: Report, out: Path) -> list[Example]:
    """Write the masks, overlays and maps of all samples; give the first few as examples for the page."""
    predictor = Predictor(model)
    foreground = folder.classes[-1]
    examples: list[Example] = []
    for sample, row in zip(samples, report.metrics["images"], strict=True):
        prediction = predictor.predict(sample.image)
        prediction.save(out, overlay=True, entropy=True, disagreement=True)
        if len(examples) < SHOWN:
            dice = row["dice"][foreground]
            remark = f"no {foreground} in it" if dice is None else f"Dice {dice:.3f}"
            examples.append(Example(sample.name, remark, pictures_of(prediction, folder.read_mask(sample))))
    return examples


def pictures_of(prediction: Prediction, target: NDArray[np.uint8]) -> dict[str, Picture]:
    """The pictures of one example by caption, each uint8 RGB [H, W, 3], of a binary prediction and its true ids."""

    def drawn(labels: NDArray[np.uint8]) -> Picture:
        return draw_overlay(prediction.image, labels, prediction.palette, background=0)

    return {
        "picture": drawn(np.zeros_like(target)),
        "truth": drawn(np.where(target == IGNORE, np.uint8(0), target)),
        "ensemble": prediction.overlay(),
        "errors": draw_errors(prediction.labels, target, background=0),
        "uncertainty": draw_heat(prediction.entropy / maximum_entropy("binary", 1)),
    }


def _page(
    model: Ensemble,
    run: Path,
    folder: DatasetFolder,
    report: Report,
    examples: list[Example],
    seed: int,
    seconds: float,
) -> str:
    foreground, metrics = folder.classes[-1], report.metrics
    count = len(metrics["images"])
    pixels = sum(image["pixels"] for image in metrics["images"])
    saved, data = quoted(run / "model"), quoted(folder.path)
    return demo_page(
        lead=(
            f"In {seconds:.0f} seconds segkit drew {len(folder.files)} pictures of stained cells, trained "
            f"{len(model.members)} small networks on {len(folder.splits['train'])} of them from random weights, and "
            f"averaged their probabilities pixel by pixel. Here is how that does on {count} pictures that none of them "
            "had seen. Nothing was downloaded."
        ),
        headings=("Dice, pooled", "IoU, pooled", "Dice, mean over images"),
        rows=[
            Row("ensemble", "mean of the members' probabilities", _figures(metrics, foreground), emphasised=True),
            *(
                Row(name, _described(member), _figures(report.members[name], foreground))
                for name, member in zip(model.names, model.members, strict=True)
                if isinstance(member, Segmenter)
            ),
        ],
        footnote=(
            f"Of the class {foreground!r} on {count} test pictures ({pixels:,} pixels), threshold "
            f"{metrics['threshold']:g}. Pooled: the pixels of all pictures are counted together. Mean over images: "
            "each picture is scored by itself."
        ),
        examples=examples,
        commands=[
            Command(f"segkit predict {saved} your/pictures -o masks --overlay", "masks for pictures of your own"),
            Command(f"segkit evaluate {saved} {data}", "the table above again, and --json for programs"),
            Command("segkit train retina_ensemble --data your/dataset", "a larger ensemble, on a dataset of your own"),
            Command("segkit config show demo", "the recipe behind this page, to copy and change"),
        ],
        colophon=f"segkit {segkit.__version__}, PyTorch {torch.__version__}, seed {seed}. The run is in {run}.",
    )


def _figures(metrics: dict[str, Any], name: str) -> tuple[float, ...]:
    pooled, each = metrics["pooled"]["per_class"][name], metrics["mean_over_images"]["per_class"][name]
    return pooled["dice"] or 0.0, pooled["iou"] or 0.0, each["dice"] or 0.0


def _described(member: Segmenter) -> str:
    """Which parts, and how large."""
    millions = sum(parameter.numel() for parameter in member.parameters()) / 1e6
    parts = member.architecture or {}
    return f"{parts['backbone']['name']} backbone, {parts['neck']['name']} neck, {millions:.1f} million parameters"
