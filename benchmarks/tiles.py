"""A picture of 2048² in tiles of 512² with an overlap of a half: segkit against MONAI and a plain loop.

    python benchmarks/tiles.py [--model FOLDER] [--rounds 4] [--side 2048]

The model is an ensemble of a ResNet50-FPN and a Swin-T-U-Net, trained for four minutes on drawn cells and kept in
``--model``; what is there already is not trained again. The picture is drawn, too. All systems get it in memory and
give probabilities of the whole picture, on the machine's threads:

* ``segkit``: ``segkit.Predictor(model, tile=512, overlap=0.5)`` as it comes; ``segkit fp32`` with ``precision="fp32"``;
* ``monai``: ``sliding_window_inference`` in its Gaussian mode, of the same model's probabilities, with segkit's weights
  (sigma an eighth); its own have a floor of 0.001, under which the picture's border is blended evenly;
* ``smp loop``: an untrained ResNet50-FPN of segmentation-models-pytorch, tile after tile, sums divided at the end; it
  is held against segkit with the ResNet50-FPN alone.

They take turns in every round; a time is the median over the rounds, a ratio one of medians. Differences are those of
probabilities from MONAI's, and of labels at 0.5. Memory is the peak resident size of a fresh process: all of it, and
what it is above that with the model loaded and the picture there. About nine minutes on two cores, and four for the
training; results in ``benchmarks/results/tiles.json``. `pip install monai` first.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from machine import machine, status
from numpy.typing import NDArray
from whole_run import whole

import segkit
from segkit.data.synthetic import draw_cells, draw_picture
from segkit.prediction.tiles import bell, tile_origins

RESULTS = Path(__file__).parent / "results" / "tiles.json"
TILE, OVERLAP, MONAIS_BATCH = 512, 0.5, 4
RECIPE = """
name: tiles
data: {crop: 128, augment: light}
ensemble:
  members:
    - {name: resnet50_fpn, backbone: resnet50, neck: fpn}
    - {name: swin_unet, backbone: swin_tiny, neck: unet}
train: {epochs: 60, batch: 8, learning_rate: 1.0e-3, ema: 0.98, validate_every: 60, keep: last}
"""

Maps = NDArray[np.float32]
System = Callable[[NDArray[np.uint8]], Maps]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path(tempfile.gettempdir()) / "segkit_tiles_model")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--side", type=int, default=2048)
    parser.add_argument("--memory-of", choices=list(SYSTEMS), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.memory_of:
        print(json.dumps(memory_of(arguments.memory_of, arguments.model, picture(arguments.side))))
        return
    if not arguments.model.is_dir():
        train(arguments.model)
    pixels = picture(arguments.side)
    systems = {name: build(segkit.load(arguments.model)) for name, build in SYSTEMS.items()}
    for run in systems.values():
        run(pixels[:TILE, :TILE])
    times: dict[str, list[float]] = {name: [] for name in systems}
    maps: dict[str, Maps] = {}
    for _ in range(arguments.rounds):
        for name, run in systems.items():
            began = time.perf_counter()
            maps[name] = run(pixels)
            times[name].append(time.perf_counter() - began)
    seconds = {name: median(taken) for name, taken in times.items()}
    memory = {name: in_a_fresh_process(name, arguments) for name in ("segkit", "monai")}
    results = {
        "side": arguments.side,
        "tiles": len(tile_origins(arguments.side, TILE, OVERLAP)) ** 2,
        "rounds": arguments.rounds,
        "seconds": {name: round(taken, 2) for name, taken in seconds.items()},
        "monai / segkit": {name: round(seconds["monai"] / seconds[name], 2) for name in OURS},
        "smp loop / segkit, ResNet50-FPN": round(seconds["smp loop"] / seconds["segkit, ResNet50-FPN"], 2),
        "difference from monai": {name: difference(maps[name], maps["monai"]) for name in OURS},
        "peak MiB": memory,
        "segkit's peak of monai's": {
            kind: round(memory["segkit"][kind] / memory["monai"][kind], 3) for kind in memory["monai"]
        },
        "peers": {name: version(name) for name in ("monai", "segmentation_models_pytorch")},
        "monai's batch": MONAIS_BATCH,
        "precision": segkit.Predictor(segkit.load(arguments.model)).precision,
        "machine": machine(),
    }
    print(json.dumps(results, indent=1))
    if arguments.side == 2048:
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")


def train(place: Path) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        recipe = Path(temporary) / "recipe.yaml"
        recipe.write_text(RECIPE)
        cells = draw_cells(Path(temporary) / "cells")
        run = whole(segkit.train(recipe, data=cells, out=Path(temporary) / "runs"))
        segkit.save(run.model, place)


def picture(side: int) -> NDArray[np.uint8]:
    """Drawn cells, RGB [side, side, 3], in squares of 512."""
    rows = [
        np.concatenate(
            [draw_picture(TILE, np.random.default_rng([row, column]))[0] for column in range(-(-side // TILE))], 1
        )
        for row in range(-(-side // TILE))
    ]
    return np.ascontiguousarray(np.concatenate(rows)[:side, :side])


# What takes turns


def by_segkit(precision: str) -> Callable[[Any], System]:
    def build(model: Any) -> System:
        predictor = segkit.Predictor(model, tile=TILE, overlap=OVERLAP, tta=None, precision=precision)
        return lambda pixels: predictor.predict(pixels).probabilities

    return build


def by_segkits_resnet(ensemble: Any) -> System:
    return by_segkit("auto")(ensemble.members[0])


def by_monai(model: Any) -> System:
    from monai.inferers import sliding_window_inference

    model.eval()
    weights = torch.outer(bell(TILE), bell(TILE))

    def run(pixels: NDArray[np.uint8]) -> Maps:
        with torch.inference_mode():
            image = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255
            found = sliding_window_inference(
                image,
                (TILE, TILE),
                MONAIS_BATCH,
                model.probabilities,
                OVERLAP,
                mode="gaussian",
                roi_weight_map=weights,
            )
        return found[0].numpy()

    return run


def by_smp(_: Any) -> System:
    import segmentation_models_pytorch as smp

    model = smp.FPN("resnet50", encoder_weights=None, classes=1).eval()

    def run(pixels: NDArray[np.uint8]) -> Maps:
        with torch.inference_mode():
            image = (torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255 - 0.45) / 0.225
            total, count = torch.zeros(1, *pixels.shape[:2]), torch.zeros(pixels.shape[:2])
            for top in tile_origins(pixels.shape[0], TILE, OVERLAP):
                for left in tile_origins(pixels.shape[1], TILE, OVERLAP):
                    place = (..., slice(top, top + TILE), slice(left, left + TILE))
                    total[place] += model(image[place])[0].sigmoid()
                    count[place] += 1
            return (total / count).numpy()

    return run


OURS = ("segkit", "segkit fp32")
SYSTEMS: dict[str, Callable[[Any], System]] = {
    "segkit": by_segkit("auto"),
    "segkit fp32": by_segkit("fp32"),
    "monai": by_monai,
    "segkit, ResNet50-FPN": by_segkits_resnet,
    "smp loop": by_smp,
}


# What is measured


def difference(found: Maps, reference: Maps) -> dict[str, float]:
    """Share of equal labels, and how far probabilities lie apart."""
    apart = np.abs(found - reference)
    return {
        "labels equal": round(float(((found >= 0.5) == (reference >= 0.5)).mean()), 6),
        "99.9th percentile": float(np.quantile(apart, 0.999)),
        "largest": float(apart.max()),
        "foreground": round(float((reference >= 0.5).mean()), 3),
    }


def in_a_fresh_process(name: str, arguments: argparse.Namespace) -> dict[str, float]:
    command = [sys.executable, __file__, "--memory-of", name, "--model", str(arguments.model)]
    done = subprocess.run([*command, "--side", str(arguments.side)], check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def memory_of(name: str, model: Path, pixels: NDArray[np.uint8]) -> dict[str, float]:
    run = SYSTEMS[name](segkit.load(model))
    before = status("VmRSS")
    run(pixels)
    peak = status("VmHWM")
    return {"whole process": round(peak / 1024), "above the loaded model": round((peak - before) / 1024)}


if __name__ == "__main__":
    main()
