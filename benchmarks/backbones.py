"""Swin-T and ResNet50 decoders against their peers: forward, forward and backward, memory.

    python benchmarks/backbones.py [--rounds 15] [--only WORK...]

Swin-T's four levels by segkit, timm, torchvision and HF transformers, after each peer's weights were loaded into ours
and the levels compared; ResNet50 under FPN and U-Net on one 512² tile, by ``segkit.Predictor`` with its defaults,
against segmentation-models-pytorch's model in eval mode under ``inference_mode``. No stochastic depth; compiled only
where the work says so, and then all of them. On a GPU there is more work: 8×3×512² in bfloat16.

All systems take turns in every round; a figure is the median over the rounds, a ratio the fastest peer's median over
ours. Memory is the peak resident size of a fresh process during one step, above what it holds with the model loaded.
Results go to ``benchmarks/results/backbones.json``; about 15 minutes on two cores. `pip install transformers` first.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import torch
from machine import machine, status
from swin_peers import SWINS, readable_state, stir
from torch import Tensor, nn

RESULTS = Path(__file__).parent / "results" / "backbones.json"
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
PEERS = ("timm", "torchvision", "transformers")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--only", nargs="+", choices=list(WORKS), default=list(WORKS))
    parser.add_argument("--memory-of", choices=("segkit", *PEERS), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.memory_of:
        print(memory_of(arguments.memory_of))
        return
    results = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    for work in arguments.only:
        torch.manual_seed(0)
        versions = {name: version(name) for name in (*PEERS, "segmentation_models_pytorch")}
        results[work] = {**WORKS[work](arguments.rounds), "peers": versions, "machine": machine()}
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")
        print(work, json.dumps({key: results[work][key] for key in results[work] if key not in ("peers", "machine")}))


# Swin-T, four levels [B, C, h, w] before any norm


def same_levels(side: int) -> dict[str, float]:
    """Largest difference of our levels from each peer's, with the peer's weights in ours.

    448² suits all: sides divide by the window (timm), and no window covers a whole map (HF shifts it all the same).
    """
    from segkit import backbones

    image = torch.rand(1, 3, side, side)
    found = {}
    for name in PEERS:
        peer = stir(SWINS[name](side))
        ours = backbones.create("swin_tiny", drop_path=0.0, weights=readable_state(peer)).eval()
        with torch.inference_mode():
            found[name] = max(float((a - b).abs().max()) for a, b in zip(ours(image), peer(image), strict=True))
    return found


def cost_of_pixels(rounds: int) -> dict[str, Any]:
    """How much longer ours takes for four times the pixels, 1×3×1024² against 1×3×512²; the median over the rounds."""
    model = SWINS["segkit"](512).eval().to(DEVICE)
    images = {side: torch.rand(1, 3, side, side, device=DEVICE) for side in (512, 1024)}

    def run(side: int) -> None:
        with torch.inference_mode():
            model(images[side])

    result = turns({str(side): lambda side=side: run(side) for side in images}, rounds)
    return {**result, "ratio": round(result["ms"]["1024"] / result["ms"]["512"], 3)}


def built(name: str, side: int, compiled: bool) -> nn.Module:
    model = SWINS[name](side).to(DEVICE)
    if compiled:
        model.compile()
    return model


def swin_inference(batch: int, side: int, bf16: bool, compiled: bool = False) -> Callable[[int], dict[str, Any]]:
    def work(rounds: int) -> dict[str, Any]:
        image = torch.rand(batch, 3, side, side, device=DEVICE)
        models = {name: built(name, side, compiled).eval() for name in SWINS}

        def step(model: nn.Module) -> None:
            with torch.inference_mode(), autocast(bf16):
                model(image)

        result = compare(models, step, rounds)
        if bf16:
            result["relative error against fp32"] = {n: bf16_error(m, image) for n, m in models.items()}
        return result

    return work


def bf16_error(model: nn.Module, image: Tensor) -> float:
    """Root mean square of the difference over that of the values, the worst level's."""
    with torch.inference_mode():
        exact = model(image)
        with autocast(True):
            rough = model(image)
    return max(
        float((a.float() - b).square().mean().sqrt() / b.square().mean().sqrt())
        for a, b in zip(rough, exact, strict=True)
    )


def swin_training(batch: int, side: int, bf16: bool, compiled: bool = False) -> Callable[[int], dict[str, Any]]:
    def work(rounds: int) -> dict[str, Any]:
        image = torch.rand(batch, 3, side, side, device=DEVICE)
        models = {name: built(name, side, compiled).train() for name in SWINS}

        def step(model: nn.Module) -> None:
            with autocast(bf16):
                loss = sum(level.float().square().mean() for level in model(image))
            loss.backward()
            model.zero_grad()

        return compare(models, step, rounds)

    return work


def swin_memory(_rounds: int) -> dict[str, Any]:
    found = {}
    for name in SWINS:
        command = [sys.executable, __file__, "--memory-of", name]
        taken = [float(subprocess.run(command, check=True, capture_output=True, text=True).stdout) for _ in range(3)]
        found[name] = median(taken)
    peer = min(PEERS, key=lambda name: found[name])
    return {"MiB": found, "of the leanest peer": round(found["segkit"] / found[peer], 3), "peer": peer}


def memory_of(name: str) -> float:
    """MiB that forward and backward of 4×3×512² take at their peak, beyond the loaded model."""
    model = SWINS[name](512).train()
    image = torch.rand(4, 3, 512, 512)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before = status("VmRSS")
    sum(level.square().mean() for level in model(image)).backward()
    return (status("VmHWM") - before) / 1024


# ResNet50 under a decoder, one 512² tile, as a user gets it


def decoder(neck: str) -> Callable[[int], dict[str, Any]]:
    def work(rounds: int) -> dict[str, Any]:
        import numpy as np
        import segmentation_models_pytorch as smp

        import segkit

        pixels = np.random.default_rng(0).integers(0, 256, (512, 512, 3), np.uint8)
        ours = segkit.Segmenter.create("resnet50", neck=neck, classes=2).eval()
        predictor = segkit.Predictor(ours, tile=512, tta=None)
        peer = {"fpn": smp.FPN, "unet": smp.Unet}[neck]("resnet50", encoder_weights=None, classes=1).eval().to(DEVICE)

        def peers() -> None:
            with torch.inference_mode():
                image = torch.from_numpy(pixels).permute(2, 0, 1)[None].to(DEVICE).float() / 255
                peer((image - 0.45) / 0.225).sigmoid().cpu()

        def ours_() -> None:
            predictor.predict(pixels)

        result = turns({"segkit Predictor": ours_, "smp": peers}, rounds)
        return {**result, "ratio": round(result["ms"]["smp"] / result["ms"]["segkit Predictor"], 3)}

    return work


# Taking turns


def autocast(bf16: bool) -> Any:
    return torch.autocast(DEVICE.type, torch.bfloat16) if bf16 else nullcontext()


def compare(models: dict[str, nn.Module], step: Callable[[nn.Module], None], rounds: int) -> dict[str, Any]:
    result = turns({name: lambda model=model: step(model) for name, model in models.items()}, rounds)
    peer = min(PEERS, key=lambda name: result["ms"][name])
    return {**result, "ratio": round(result["ms"][peer] / result["ms"]["segkit"], 3), "fastest peer": peer}


def turns(systems: dict[str, Callable[[], None]], rounds: int) -> dict[str, Any]:
    """Median milliseconds of each system, all taking turns; two rounds before them don't count."""
    times: dict[str, list[float]] = {name: [] for name in systems}
    for _ in range(2 + rounds):
        for name, run in systems.items():
            began = time.perf_counter()
            run()
            if DEVICE.type == "cuda":
                torch.cuda.synchronize()
            times[name].append(1000 * (time.perf_counter() - began))
    return {"ms": {name: round(median(taken[2:]), 1) for name, taken in times.items()}}


WORKS: dict[str, Callable[[int], dict[str, Any]]] = {
    "levels equal, 448²": lambda _rounds: {"largest difference": same_levels(448)},
    "swin_tiny 4×3×256², fp32": swin_inference(4, 256, False),
    "swin_tiny 1×3×512², fp32": swin_inference(1, 512, False),
    "swin_tiny 1×3×1024² over 1×3×512², fp32": cost_of_pixels,
    "swin_tiny 4×3×256², bf16": swin_inference(4, 256, True),
    "swin_tiny 1×3×512², bf16": swin_inference(1, 512, True),
    "swin_tiny 4×3×256², fp32, forward and backward": swin_training(4, 256, False),
    "swin_tiny 4×3×512², memory": swin_memory,
    "resnet50 fpn, 512²": decoder("fpn"),
    "resnet50 unet, 512²": decoder("unet"),
}
if DEVICE.type == "cuda":
    for how, is_compiled in (("", False), (", compiled", True)):
        WORKS[f"swin_tiny 8×3×512², bf16{how}"] = swin_inference(8, 512, True, is_compiled)
        WORKS[f"swin_tiny 8×3×512², bf16, forward and backward{how}"] = swin_training(8, 512, True, is_compiled)


if __name__ == "__main__":
    main()
