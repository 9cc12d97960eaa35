"""A training beside another busy process: how long the threads of PyTorch wait for one another, and what that costs.

    python benchmarks/busy_machine.py [--rounds 3] [--seconds 8]

A step (forward, backward, AdamW, bfloat16 where the processor has it) of a plain U-Net on four 224² crops and of
Swin-T with an FPN on eight 128² crops, each in a fresh process, alone on the machine and beside one process that counts
in a loop; once with GNU OpenMP's own waiting (``usual``) and once as ``segkit`` starts its commands (``segkit``, see
``segkit/cores.py``). The settings take turns; figures are medians over the rounds of the median step, in milliseconds.
About eight minutes on two cores.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from statistics import median
from typing import Any

from machine import machine

from segkit.cores import SPINS
from segkit.files import write_whole

RESULTS = Path(__file__).parent / "results" / "busy_machine.json"
WAITING: dict[str, dict[str, str]] = {"usual": {}, "segkit": {"GOMP_SPINCOUNT": SPINS}}
WARM = 2  # steps before those that count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--steps-of", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.steps_of:
        print(step_of(arguments.steps_of, arguments.seconds))
        return
    found: dict[str, list[float]] = {}
    for _ in range(arguments.rounds):
        for beside in (False, True):
            for name in NETWORKS:
                for waiting, variables in WAITING.items():
                    key = f"{name}, {'beside a busy process' if beside else 'alone'}, {waiting}"
                    with busy() if beside else nullcontext():
                        found.setdefault(key, []).append(timed(name, arguments.seconds, variables))
                    print(key, found[key], flush=True)
    steps = {key: round(median(taken), 1) for key, taken in found.items()}
    rows = {"milliseconds a step": steps, "rounds": arguments.rounds, "spins": int(SPINS), "machine": machine()}
    write_whole(RESULTS, json.dumps(rows, indent=1) + "\n")


def timed(name: str, seconds: float, variables: dict[str, str]) -> float:
    """Milliseconds of the median step in a fresh process: how it waits is read when the library is loaded."""
    plain = {key: value for key, value in os.environ.items() if key not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    command = [sys.executable, __file__, "--steps-of", name, "--seconds", str(seconds)]
    done = subprocess.run(command, env=plain | variables, check=True, capture_output=True, text=True)
    return float(done.stdout)


@contextmanager
def busy() -> Iterator[None]:
    """While in this, a process uses all of a core that it can get."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def step_of(name: str, seconds: float) -> float:
    import torch

    from segkit.precision import fastest

    torch.manual_seed(0)
    model, image = NETWORKS[name]()
    model.to(memory_format=torch.channels_last)
    image = image.contiguous(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-4)
    lowered = fastest(torch.device("cpu")) == "bf16"

    def step() -> float:
        began = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=lowered):
            logits = model(image)
        logits.float().square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        return 1000 * (time.perf_counter() - began)

    for _ in range(WARM):
        step()
    end, taken = time.monotonic() + seconds, []
    while time.monotonic() < end:
        taken.append(step())
    return median(taken)


def unet() -> tuple[Any, Any]:
    import torch

    import segkit

    backbone = {"name": "stem", "width": 24, "depth": 5}
    neck = {"name": "unet", "widths": [24, 48, 96, 192]}
    return segkit.Segmenter.create(backbone, neck=neck, classes=2), torch.rand(4, 3, 224, 224)


def swin() -> tuple[Any, Any]:
    import torch

    import segkit

    model = segkit.Segmenter.create("swin_tiny", neck={"name": "fpn", "width": 96}, classes=2)
    return model, torch.rand(8, 3, 128, 128)


NETWORKS = {"U-Net": unet, "Swin-T": swin}

if __name__ == "__main__":
    main()
