"""Images per second of a training step on CIFAR's 32² pictures: `swin_cifar10` against timm's Swin of the same shape.

    python benchmarks/cifar10_speed.py [--rounds 15] [--batches 64 128 256] [--threads 1]

Both are 7,048,612 parameters: patch 2, window 4, depths 2-6-4, widths 96-192-384, heads 3-6-12, MLP ×2. timm's weights
are put into ours first, and the logits compared. A step is forward, label-smoothed cross-entropy, backward, clipping,
and segkit's fused AdamW for both; no stochastic depth, no augmentation, no compilation; bf16 autocast and float32. The
two take turns in every round; a figure is the median over the rounds, a ratio ours over timm's. Results go to
``benchmarks/results/cifar10_speed.json``.
"""

import argparse
import json
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F
from machine import machine
from swin_peers import stir
from timm.models.swin_transformer import SwinTransformer
from torch import Tensor, nn

import segkit
from segkit.training.optimizer import create_optimizer

RESULTS = Path(__file__).parent / "results" / "cifar10_speed.json"
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
PARAMETERS = 7_048_612


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--batches", type=int, nargs="+", default=[64, 128, 256])
    parser.add_argument("--threads", type=int, help="by default one a core")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    results: dict[str, Any] = {"largest difference of logits": same_logits()}
    print(results)
    for low in (True, False):
        for batch in arguments.batches:
            work = f"{'bf16' if low else 'fp32'}, batch {batch}"
            results[work] = turns(
                {"segkit": step(ours(), batch, low), "timm": step(timms(), batch, low)}, batch, arguments
            )
            print(work, json.dumps(results[work]), flush=True)
    results["timm"], results["machine"] = version("timm"), {**machine(), "threads": str(torch.get_num_threads())}
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")


def ours() -> nn.Module:
    return segkit.Classifier.create({"name": "swin_cifar10", "drop_path": 0.0}, classes=10)


def timms() -> nn.Module:
    return SwinTransformer(
        img_size=32,
        patch_size=2,
        window_size=4,
        embed_dim=96,
        depths=(2, 6, 4),
        num_heads=(3, 6, 12),
        mlp_ratio=2.0,
        num_classes=10,
        drop_path_rate=0.0,
    )


def same_logits() -> float:
    """With timm's weights in ours, and both of the size that is published."""
    peer, own = stir(timms()), ours().eval()
    assert sum(p.numel() for p in peer.parameters()) == sum(p.numel() for p in own.parameters()) == PARAMETERS
    state = peer.state_dict()
    backbone = segkit.backbones.create("swin_cifar10", drop_path=0.0, weights=state).state_dict()
    rest = {name: state[key] for name, key in HEAD.items()}
    own.load_state_dict({**{f"backbone.{name}": tensor for name, tensor in backbone.items()}, **rest}, strict=False)
    image = torch.rand(8, 3, 32, 32)
    with torch.inference_mode():
        return float((own(image) - peer((image - own.mean) / own.std)).abs().max())


HEAD = {
    "norm.weight": "norm.weight",
    "norm.bias": "norm.bias",
    "head.weight": "head.fc.weight",
    "head.bias": "head.fc.bias",
}


def step(model: nn.Module, batch: int, low: bool) -> Callable[[], None]:
    """One update of a model on pictures in memory."""
    model = model.train().to(DEVICE)
    optimizer = create_optimizer(model, 3e-4, 0.05)
    image, target = torch.rand(batch, 3, 32, 32, device=DEVICE), torch.randint(10, (batch,), device=DEVICE)

    def run() -> None:
        with torch.autocast(DEVICE.type, torch.bfloat16, enabled=low):
            logits: Tensor = model(image)
            loss = F.cross_entropy(logits.float(), target, label_smoothing=0.1)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 3.0)
        optimizer.step()
        optimizer.zero_grad()
        if DEVICE.type == "cuda":
            torch.cuda.synchronize()

    return run


def turns(runs: dict[str, Callable[[], None]], batch: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """Images per second of each, in turns after one that isn't counted."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(arguments.rounds + 1):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if number:
                seconds[name].append(time.perf_counter() - start)
    found = {name: batch / median(values) for name, values in seconds.items()}
    rounded = {name: round(value, 1) for name, value in found.items()}
    return {"images per second": rounded, "ratio": round(found["segkit"] / found["timm"], 3)}


if __name__ == "__main__":
    main()
