"""Recipes that ``segkit init`` writes, against a plain segmentation-models-pytorch loop, at the same minutes.

    python benchmarks/small_budgets.py FOLDER... [--minutes 4] [--seeds 0 1 2] [--systems segkit smp]

Each FOLDER is a dataset with splits train, val and test. Both systems train on train + val from random weights for the
same minutes and are scored on test by the same code, threshold 0.5. ``segkit`` is the recipe of ``segkit init``, as it
is written. ``smp`` is the loop that anyone would write: ``smp.Unet`` with the encoder named by --encoder, AdamW 1e-3
with warm-up and cosine, cross-entropy plus Dice, flips, affine and colour augmentation, batches of 8, bfloat16, no
test-time averaging; it takes pictures, no volumes. A result in ``benchmarks/results/small_budgets.json`` is not run
again; delete its key to run it.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import albumentations as A
import cv2
import numpy as np
import segmentation_models_pytorch as smp
import torch
from machine import machine
from whole_run import whole

import segkit
from segkit.data.folder import DatasetFolder, open_dataset
from segkit.data.masks import IGNORE
from segkit.data.reader import Reader
from segkit.suggestion.suggest import suggest

RESULTS = Path(__file__).parent / "results" / "small_budgets.json"
BATCH, RATE, WARMUP = 8, 1e-3, 0.05


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="+")
    parser.add_argument("--minutes", type=float, default=4)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--systems", nargs="+", choices=["segkit", "smp"], default=["segkit", "smp"])
    parser.add_argument("--encoder", default="resnet34")
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    arguments = parser.parse_args()
    for data in arguments.data:
        for seed in arguments.seeds:
            for system in arguments.systems:
                measure(data, system, arguments.minutes, seed, arguments.encoder, arguments.runs)


def measure(data: Path, system: str, minutes: float, seed: int, encoder: str, runs: Path) -> None:
    """One training and its scores, unless they are in the table."""
    results = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    what = "segkit init" if system == "segkit" else f"smp Unet {encoder}"
    key = f"{data.resolve().name}, {minutes:g} minutes, {what}, seed {seed}"
    if key not in results:
        train = train_segkit if system == "segkit" else partial(train_smp, of=scores)
        results[key] = {**train(data, minutes, seed, encoder, runs), "machine": machine()}
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    print(key, json.dumps(results[key]), flush=True)


def train_segkit(data: Path, minutes: float, seed: int, _encoder: str, runs: Path) -> dict[str, Any]:
    """Write a recipe, train it as it is, score it."""
    suggestion = suggest(data, hours=minutes / 60)
    recipe = runs / f"{data.resolve().name}_{minutes:g}_{seed}.yaml"
    suggestion.save(recipe, overwrite=True)
    began = time.perf_counter()
    run = whole(segkit.train(recipe, overrides=[f"train.seed={seed}"], out=runs))
    taken = (time.perf_counter() - began) / 60
    report = segkit.evaluate(run.model, data, "test")
    members = {name: scores(metrics) for name, metrics in report.members.items()}
    return {**scores(report.metrics), **({"members": members} if members else {}), "minutes": round(taken, 1)}


def train_smp(
    data: Path, minutes: float, seed: int, encoder: str, runs: Path, of: Callable[[dict[str, Any]], dict[str, Any]]
) -> dict[str, Any]:
    """Train the plain loop for the minutes, write its masks, score them; ``of`` is what is told of the metrics."""
    torch.manual_seed(seed)
    folder, reader = open_dataset(data), Reader()
    samples = folder.samples("train", "val")
    pairs = [(read(reader, sample.image), folder.read_mask(sample)) for sample in samples]
    side = max(32, min(256, (min(min(mask.shape) for _, mask in pairs) - 1) // 32 * 32))
    loader = torch.utils.data.DataLoader(Crops(pairs, side), BATCH, num_workers=1, persistent_workers=True)

    maps = 1 if folder.task == "binary" else len(folder.classes)
    model = smp.Unet(encoder, encoder_weights=None, classes=maps).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.01, fused=True)
    began, step = time.perf_counter(), 0
    batches = iter(loader)
    model.train()
    while (passed := (time.perf_counter() - began) / (60 * minutes)) < 1:
        rise, fall = min(1.0, passed / WARMUP), (1 + np.cos(np.pi * passed)) / 2
        for group in optimizer.param_groups:
            group["lr"] = RATE * max(1e-3, min(rise, fall))
        image, target = next(batches)
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(image.contiguous(memory_format=torch.channels_last))
        loss = loss_of(logits.float(), target, folder)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        step += 1
    taken = (time.perf_counter() - began) / 60

    out = Path(tempfile.mkdtemp(dir=runs))
    for sample in folder.samples("test"):
        cv2.imwrite(str(out / f"{sample.name}.png"), predict(model, read(reader, sample.image), folder))
    return {**of(segkit.evaluate(out, data, "test").metrics), "minutes": round(taken, 1), "steps": step}


class Crops(torch.utils.data.IterableDataset):
    """Augmented random crops without end."""

    def __init__(self, pairs: list[tuple[np.ndarray, np.ndarray]], side: int) -> None:
        self.pairs = pairs
        self.augment = A.Compose(
            [
                A.RandomCrop(side, side),
                A.HorizontalFlip(p=0.5),
                A.VerticalFlip(p=0.5),
                A.Affine(scale=(0.8, 1.25), rotate=(-45, 45), p=0.7, fill_mask=IGNORE),
                A.RandomBrightnessContrast(p=0.5),
                A.HueSaturationValue(10, 20, 10, p=0.3),
            ],
            mask_interpolation=cv2.INTER_NEAREST,
        )

    def __iter__(self) -> Any:
        cv2.setNumThreads(0)
        rng = np.random.default_rng(torch.initial_seed() % 2**32)
        self.augment.set_random_seed(int(rng.integers(1 << 31)))
        while True:
            for index in rng.permutation(len(self.pairs)):
                image, mask = self.pairs[index]
                done = self.augment(image=image, mask=mask)
                image = torch.from_numpy(done["image"].transpose(2, 0, 1).copy()).float() / 255
                yield (image - 0.45) / 0.225, torch.from_numpy(done["mask"].astype(np.int64))


def read(reader: Reader, path: Path) -> np.ndarray:
    return (reader.read(path) * 255).round().astype(np.uint8)


def loss_of(logits: torch.Tensor, target: torch.Tensor, folder: DatasetFolder) -> torch.Tensor:
    """Cross-entropy plus Dice by smp; ignored pixels count in neither."""
    if folder.task == "binary":
        counted = target != IGNORE
        truth = (target == 1).float()
        entropy = torch.nn.functional.binary_cross_entropy_with_logits(logits[:, 0], truth, reduction="none")
        dice = smp.losses.DiceLoss("binary", ignore_index=IGNORE)(logits, target[:, None])
        return (entropy * counted).sum() / counted.sum().clamp(min=1) + dice
    entropy = torch.nn.functional.cross_entropy(logits, target, ignore_index=IGNORE)
    return entropy + smp.losses.DiceLoss("multiclass", ignore_index=IGNORE)(logits, target)


@torch.inference_mode()
def predict(model: torch.nn.Module, image: np.ndarray, folder: DatasetFolder) -> np.ndarray:
    """Ids of a whole picture, filled up to a multiple of 32 by reflection."""
    model.eval()
    height, width = image.shape[:2]
    image = np.pad(image, ((0, -height % 32), (0, -width % 32), (0, 0)), mode="reflect")
    batch = (torch.from_numpy(image.transpose(2, 0, 1).copy()).float()[None] / 255 - 0.45) / 0.225
    logits = model(batch.contiguous(memory_format=torch.channels_last))[0, :, :height, :width]
    ids = (logits[0] >= 0) if folder.task == "binary" else logits.argmax(0)
    return ids.numpy().astype(np.uint8)


def scores(metrics: dict[str, Any]) -> dict[str, Any]:
    """Dice and IoU of each class, pooled over all test pixels, the mean IoU, and the mean Dice over images."""
    pooled = metrics["pooled"]
    names = metrics["classes"][-1:] if metrics["task"] == "binary" else metrics["classes"]
    found: dict[str, Any] = {f"dice {name}": pooled["per_class"][name]["dice"] for name in names}
    found["mean iou"] = pooled["mean_iou"]
    if metrics["task"] == "binary":
        found["dice, mean over images"] = metrics["mean_over_images"]["per_class"][names[0]]["dice"]
    else:
        ious = [score["iou"] for score in pooled["per_class"].values() if score["support"]]
        found["mean iou of classes in test"] = sum(ious) / len(ious)
        means = [one["dice"] for name, one in metrics["mean_over_images"]["per_class"].items() if name != "background"]
        found["dice of the foreground, mean over images"] = sum(means) / len(means) if None not in means else None
    return {name: value if value is None else round(value, 4) for name, value in found.items()}


if __name__ == "__main__":
    main()
