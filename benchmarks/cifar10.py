"""CIFAR-10 by `swin_cifar10`: a fixed time on processors, or 300 passes on a GPU in pieces.

    python benchmarks/cifar10.py DATA [--minutes 60] [key=value ...]
    python benchmarks/cifar10.py DATA --epochs 300 --piece 8.5 [--resume]

A tenth of train, of each class, is held out for validation; nothing else is tuned on or chosen by. The test images are
looked at once, when a run is over. ``--minutes`` trains for so long, with the recipe's schedule brought to its end in
that time and what suits few passes (``FEW_PASSES``); ``--epochs`` as the recipe says, for so many passes. ``--piece``
ends the process after so many minutes; the same command with ``--resume`` goes on. What the run reached, the images per
second and the machine go to ``benchmarks/results/cifar10.json``, under the device and the length of the run.
"""

import argparse
import csv
import json
import os
import signal
import threading
from pathlib import Path
from statistics import harmonic_mean
from typing import Any

import torch
from machine import machine

import segkit

RESULTS = Path(__file__).parent / "results" / "cifar10.json"
FEW_PASSES = (  # in which a network learns more from images as they are, small at first, by Muon and at a higher rate
    "data.grow={start: 24}",
    "model.backbone={name: swin_cifar10, drop_path: 0.0}",
    "classify.mixup=0",
    "classify.cutmix=0",
    "augment.rand_augment=null",
    "train.optimizer=muon",
    "train.learning_rate=0.002",
    "train.ema=0.999",
    "train.validate_every=4",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="of the recipe")
    parser.add_argument("--minutes", type=float, help="of training; 60 where no --epochs are given")
    parser.add_argument("--epochs", type=int, help="passes over the training images, however long they take")
    parser.add_argument("--piece", type=float, help="minutes after which this process ends")
    parser.add_argument("--resume", action="store_true", help="go on with the unfinished run")
    parser.add_argument("--out", type=Path, default=Path("runs"))
    arguments = parser.parse_intermixed_args()  # key=value may stand anywhere
    if arguments.epochs is not None and arguments.minutes is not None:
        parser.error("--minutes or --epochs, not both")
    minutes = None if arguments.epochs is not None else arguments.minutes or 60.0
    length = f"train.epochs={arguments.epochs}" if minutes is None else f"train.minutes={minutes:g}"
    overrides = [length, *(FEW_PASSES if minutes is not None else ()), *arguments.overrides]
    timer = end_after(arguments.piece)
    try:
        run = segkit.pretrain("swin_cifar10", arguments.data, overrides, out=arguments.out, resume=arguments.resume)
    finally:
        timer.cancel()
    if run.interrupted:
        print(f"stopped after a piece; {run.directory} goes on with --resume")
        return
    report = segkit.evaluate(run.model, arguments.data, split="test")
    found = {
        "overrides": overrides,
        **trained(run.directory),
        "validation": run.metrics,
        "test": {name: report.metrics[name] for name in ("top1", "top5", "nll", "ece")},
        "machine": {**machine(), "threads": str(torch.get_num_threads())},
    }
    device = "cuda" if torch.cuda.is_available() else "cpu"
    write(f"{device}, {length.partition('.')[2]}", found)
    print(json.dumps(found, indent=1))
    print(f"test top-1 {report.metrics['top1']:.2%}, {found['images per second']:.0f} images per second")


def end_after(minutes: float | None) -> threading.Timer:
    """Ask this process to stop, as Ctrl-C does, when its time is up: the run then goes on with --resume."""
    timer = threading.Timer(60 * (minutes or 0), os.kill, (os.getpid(), signal.SIGINT))
    timer.daemon = True
    if minutes is not None:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background processes ignore it
        timer.start()
    return timer


def trained(directory: Path) -> dict[str, Any]:
    """What the run's table says of its length and speed."""
    with (directory / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {
        "epochs": len(rows),
        "minutes": round(float(rows[-1]["seconds"]) / 60, 3),
        "images per second": round(harmonic_mean(float(row["images_per_second"]) for row in rows), 1),
    }


def write(name: str, found: dict[str, Any]) -> None:
    results = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps({**results, name: found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
