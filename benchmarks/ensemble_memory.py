"""Ensembles of 2 to 20 members: time and memory of segkit, a plain loop, MONAI and torch-uncertainty.

    python benchmarks/ensemble_memory.py [--members 2 5 10 20] [--rounds 3]

Every member is a U-Net with a ResNet18 encoder of segmentation-models-pytorch with random weights, the same for all
systems, in float32. One picture of 512² goes through all members, and comes out as mean probabilities of 19 classes
and, where a system gives it, their spread:

* ``segkit``: ``segkit.Predictor`` of an ensemble of ``segkit.Adapter``s, as it comes, with labels, entropy and mutual
  information beside the probabilities; ``segkit fp32`` with ``precision="fp32"``;
* ``segkit module``: the bare ``segkit.Ensemble``'s ``statistics``, with the standard deviation too, no predictor;
* ``smp loop``: the softmax maps of all members in a list, stacked, and their mean, as anyone would write it;
* ``smp loop with spread``: the same with the entropy of the mean, mutual information and standard deviation;
* ``monai``: ``SimpleInferer`` a member, its softmax maps stacked, ``MeanEnsemble``;
* ``torch-uncertainty``: ``deep_ensembles(models)``, which gives all members' logits at once; then the mean softmax.

Systems take turns in every round; a time is the median over the rounds. Memory is the peak resident size of a fresh
process, the median of five, above that with the members loaded and the picture there: ``MiB`` without what a system
makes of the weights once (segkit folds BatchNorm, and keeps weights in bfloat16 where it computes in it), ``MiB with
copies`` with that. About 35 minutes on two cores. A number of members that is in
``benchmarks/results/ensemble_memory.json`` is not measured again. `pip install
monai torch-uncertainty` first.
"""

import argparse
import copy
import ctypes
import gc
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import segmentation_models_pytorch as smp
import torch
from machine import machine
from torch import Tensor, nn

import segkit
from segkit.files import write_whole

RESULTS = Path(__file__).parent / "results" / "ensemble_memory.json"
SIDE, CLASSES, PROCESSES = 512, 19, 5

System = Callable[[Tensor], object]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--members", type=int, nargs="+", default=[2, 5, 10, 20])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory-of", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.memory_of:
        name, count = arguments.memory_of
        print(json.dumps(peak_above(name, int(count))))
        return
    rows: dict[str, dict[str, Any]] = json.loads(RESULTS.read_text())["members"] if RESULTS.is_file() else {}
    for count in arguments.members:
        if str(count) not in rows:
            rows[str(count)] = {"seconds": seconds_of(count, arguments.rounds), **memory_of(count)}
            write_whole(RESULTS, json.dumps(summary(rows, arguments.rounds), indent=1) + "\n")
        print(count, json.dumps(rows[str(count)]), flush=True)
    print(json.dumps(summary(rows, arguments.rounds), indent=1))


def summary(rows: dict[str, dict[str, Any]], rounds: int) -> dict[str, Any]:
    """What is kept: each number of members, and how they stand to each other."""
    few, many = (str(each(map(int, rows))) for each in (min, max))
    return {
        "members": rows,
        f"memory of {many} over {few}": {
            name: round(rows[many]["MiB"][name] / rows[few]["MiB"][name], 3) for name in rows[few]["MiB"]
        },
        "seconds over segkit": {
            count: {name: round(taken / row["seconds"]["segkit"], 3) for name, taken in row["seconds"].items()}
            for count, row in rows.items()
        },
        "rounds": rounds,
        "picture": SIDE,
        "classes": CLASSES,
        "peers": {name: installed(name) for name in ("segmentation_models_pytorch", "monai", "torch-uncertainty")},
        "machine": machine(),
    }


def seconds_of(count: int, rounds: int) -> dict[str, float]:
    models, image = members(count), picture()
    # Each its own copies: a predictor lays weights out anew.
    systems = {name: build(copy.deepcopy(models)) for name, build in SYSTEMS.items()}
    times: dict[str, list[float]] = {name: [] for name in systems}
    with torch.inference_mode():
        means = {name: first_of(run(image)) for name, run in systems.items()}
        for name, mean in means.items():
            bound = 0.02 if name == "segkit" else 1e-4  # as it comes it may compute in bfloat16
            torch.testing.assert_close(mean, means["smp loop"], atol=bound, rtol=0)
        for _ in range(rounds):
            for name, run in systems.items():
                began = time.perf_counter()
                run(image)
                times[name].append(time.perf_counter() - began)
    return {name: round(median(taken), 3) for name, taken in times.items()}


def first_of(found: Any) -> Tensor:
    maps = found[0] if isinstance(found, tuple) else getattr(found, "probabilities", found)
    return torch.as_tensor(np.asarray(maps)).reshape(1, CLASSES, SIDE, SIDE)


def memory_of(count: int) -> dict[str, dict[str, float]]:
    command = [sys.executable, __file__, "--memory-of"]
    found: dict[str, dict[str, float]] = {"MiB": {}, "MiB with copies": {}}
    for name in SYSTEMS:
        peaks = [
            json.loads(subprocess.run([*command, name, str(count)], check=True, capture_output=True, text=True).stdout)
            for _ in range(PROCESSES)
        ]
        for kind, each in found.items():
            each[name] = round(median(peak[kind] for peak in peaks), 1)
    return found


def peak_above(name: str, count: int) -> dict[str, float]:
    """MiB of the highest resident size while a picture goes through, above that before; looked at every millisecond."""
    models, image = members(count), picture()
    loaded = settled()
    run = SYSTEMS[name](models)
    with torch.inference_mode():
        run(image[..., :64, :64])  # what is made once is there
        before = peak = settled()
        done = threading.Event()

        def watch() -> None:
            nonlocal peak
            while not done.wait(0.001):
                peak = max(peak, resident())

        watcher = threading.Thread(target=watch)
        watcher.start()
        run(image)
        done.set()
        watcher.join()
    return {"MiB": round((peak - before) / 2**20, 1), "MiB with copies": round((peak - loaded) / 2**20, 1)}


def settled() -> int:
    """Resident bytes once freed memory is given back: it would be used again, and not be seen."""
    gc.collect()
    if sys.platform == "linux":
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    return resident()


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def members(count: int) -> list[nn.Module]:
    torch.manual_seed(0)
    return [smp.Unet("resnet18", encoder_weights=None, classes=CLASSES).eval() for _ in range(count)]


def picture() -> Tensor:
    return torch.rand(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))


def installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


# What takes turns


def ensemble(models: list[nn.Module]) -> segkit.Ensemble:
    return segkit.Ensemble([segkit.Adapter(model, classes=CLASSES, multiple_of=32) for model in models]).eval()


def by_segkit(precision: str) -> Callable[[list[nn.Module]], System]:
    def build(models: list[nn.Module]) -> System:
        predictor = segkit.Predictor(ensemble(models), tile=None, precision=precision)
        return lambda image: predictor.predict(image[0].permute(1, 2, 0).numpy())

    return build


def by_module(models: list[nn.Module]) -> System:
    return ensemble(models).statistics


def by_loop(models: list[nn.Module]) -> System:
    return lambda image: torch.stack([model(image).softmax(1) for model in models]).mean(0)


def by_loop_with_spread(models: list[nn.Module]) -> System:
    def run(image: Tensor) -> tuple[Tensor, ...]:
        maps = torch.stack([model(image).softmax(1) for model in models])
        mean = maps.mean(0)
        return mean, entropy(mean), entropy(mean) - entropy(maps).mean(0), maps.std(0, correction=0)

    return run


def entropy(p: Tensor) -> Tensor:
    return torch.special.entr(p).sum(-3)


def by_monai(models: list[nn.Module]) -> System:
    from monai.inferers import SimpleInferer
    from monai.transforms import MeanEnsemble

    inferer, mean = SimpleInferer(), MeanEnsemble()
    return lambda image: mean(torch.stack([inferer(image, model).softmax(1) for model in models]))


def by_torch_uncertainty(models: list[nn.Module]) -> System:
    from torch_uncertainty.methods import deep_ensembles

    together = deep_ensembles(models).eval()

    def run(image: Tensor) -> Tensor:
        logits = together(image)  # [members · batch, classes, H, W]
        return logits.softmax(1).view(len(models), len(image), *logits.shape[1:]).mean(0)

    return run


SYSTEMS: dict[str, Callable[[list[nn.Module]], System]] = {
    "segkit": by_segkit("auto"),
    "segkit fp32": by_segkit("fp32"),
    "segkit module": by_module,
    "smp loop": by_loop,
    "smp loop with spread": by_loop_with_spread,
    "monai": by_monai,
    "torch-uncertainty": by_torch_uncertainty,
}

if __name__ == "__main__":
    main()
