"""Exported models against PyTorch: how far apart, how fast.

    python benchmarks/export.py [--rounds 7] [--side 512] [--only RECIPE...]
    python benchmarks/export.py --int8 FOLDER --model MODEL

The model of every shipped recipe, and an ensemble of two of them, with random weights and two classes, is exported to
ONNX. Differences are the largest of any probability, at five sizes and batches of 1 and 2, bytes in. Times are of one
picture of SIDE² (whole pictures of their own size where the model wants these, depth of one metre where it takes that),
bytes to probabilities, by ONNX Runtime and by PyTorch as ``Predictor`` prepares the model (BatchNorm folded, channels
last) in float32 and bfloat16; all take turns in every round, a figure is the median. Results go to
``benchmarks/results/export.json``, one recipe after the other; 15 minutes on two cores.

With --int8 a trained MODEL is exported in eight bits instead: FOLDER is a dataset, and the figures, the scores on its
test split, go to ``benchmarks/results/export_int8.json``.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import onnxruntime
import torch
from machine import machine

import segkit
from segkit import Ensemble, Segmenter
from segkit.exporting.run import export
from segkit.prediction.prepared import prepared
from segkit.recipe_file import load_recipe, recipe_names

RESULTS = Path(__file__).parent / "results" / "export.json"
INT8_RESULTS = RESULTS.with_name("export_int8.json")
TWO = "two members"  # of the demonstration's first and the retina recipe's second: a Swin-FPN and an attention U-Net


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--only", nargs="*", choices=[*recipe_names(), TWO], default=[*recipe_names(), TWO])
    parser.add_argument("--int8", type=Path, help="a dataset to choose ranges by and to score on")
    parser.add_argument("--model", type=Path, help="the trained model that --int8 is for")
    arguments = parser.parse_args()
    place = RESULTS if arguments.int8 is None else INT8_RESULTS
    place.parent.mkdir(exist_ok=True)
    results = json.loads(place.read_text()) if place.is_file() else {}
    works: dict[str, Callable[[], dict[str, Any]]] = {
        name: lambda name=name: compared(model_of(name), arguments.side, arguments.rounds) for name in arguments.only
    }
    if arguments.int8 is not None:
        works = {arguments.int8.name: lambda: in_eight_bits(arguments.model, arguments.int8)}
    for name, work in works.items():
        versions = {library: version(library) for library in ("onnx", "onnxscript", "onnxruntime")}
        results[name] = {**work(), "libraries": versions, "machine": machine()}
        place.write_text(json.dumps(results, indent=1) + "\n")
        print(
            name,
            json.dumps({key: value for key, value in results[name].items() if key not in ("libraries", "machine")}),
        )


def model_of(name: str) -> Segmenter | Ensemble:
    """A recipe's model with random weights, one segmenter by itself, several as an ensemble."""
    torch.manual_seed(0)
    if name == TWO:
        parts = [load_recipe("demo").members()[0], load_recipe("retina_ensemble").members()[1]]
    else:
        parts = load_recipe(name).members()
    members = [segmenter(part.model).eval() for part in parts]
    return members[0] if len(members) == 1 else Ensemble(members).eval()


def segmenter(model: Any) -> Segmenter:
    return Segmenter.create(
        model.backbone.model_dump(),
        neck=model.neck.model_dump(),
        head=model.head.model_dump(),
        stem=model.stem,
        depth=model.depth.model_dump() if model.depth is not None else None,
        bridge=model.bridge.model_dump(),
        encoding=model.encoding.model_dump() if model.encoding is not None else None,
        classes=["background", "object"],
        input_size=model.input_size,
        output_size=model.output_size,
    )


def compared(model: Segmenter | Ensemble, side: int, rounds: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        done = export(model, Path(folder) / "model.onnx")
        seconds = time.perf_counter() - start
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        session = onnxruntime.InferenceSession(done.path, options, ["CPUExecutionProvider"])
        size = done.path.stat().st_size
    pixels = np.random.default_rng(0).integers(0, 256, (1, side, side, 3), np.uint8)
    given = {"pixels": pixels}
    if model.reader.depth_channels:
        given["depth"] = np.ones((1, side, side, model.reader.depth_channels + 1), np.float32)
    systems = {"onnxruntime": lambda: session.run(None, given)}
    for name, low in (("torch_fp32", None), ("torch_bf16", torch.bfloat16)):
        systems[name] = by_torch(model, given, low)
    times = taken(systems, rounds)
    found = done.description.agreement
    assert found is not None
    return {
        "difference": found.difference,
        "sizes": found.sizes,
        "side": side,
        "seconds": times,
        "onnxruntime_to_fp32": times["onnxruntime"] / times["torch_fp32"],
        "onnxruntime_to_bf16": times["onnxruntime"] / times["torch_bf16"],
        "megabytes": round(size / 1e6, 1),
        "export_seconds": round(seconds, 1),
    }


def by_torch(
    model: Segmenter | Ensemble, given: dict[str, np.ndarray], low: torch.dtype | None
) -> Callable[[], object]:
    probe = torch.ones(1, model.reader.inputs, 64, 64)
    ready = prepared(model.to(memory_format=torch.channels_last), lambda some: some.probabilities(probe), low)

    @torch.inference_mode()
    def work() -> object:
        image = torch.from_numpy(given["pixels"]).permute(0, 3, 1, 2).float() / 255  # channels last already
        depth = torch.from_numpy(given["depth"]).permute(0, 3, 1, 2) if "depth" in given else None
        with torch.autocast("cpu", dtype=low, enabled=low is not None):
            return ready.probabilities(image, depth)

    return work


def taken(systems: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median seconds of each, all of them in turn in every round, after one that isn't counted."""
    times: dict[str, list[float]] = {name: [] for name in systems}
    for counted in range(rounds + 1):
        for name, work in systems.items():
            start = time.perf_counter()
            work()
            if counted:
                times[name].append(time.perf_counter() - start)
    return {name: round(median(seconds), 4) for name, seconds in times.items()}


def in_eight_bits(path: Path, data: Path) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        done = export(segkit.load(path), Path(folder) / "model.onnx", int8=data)
    assert done.cost is not None
    return asdict(done.cost)


if __name__ == "__main__":
    main()
