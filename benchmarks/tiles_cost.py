"""What a picture costs by its size: seconds and memory from 0.25 to 400 megapixels.

    python benchmarks/tiles_cost.py [--up-to 400]

Each picture is a TIFF of drawn cells, RGB, in tiles of 256² compressed by deflate, square or 4,000 pixels wide (a row
of tiles is then the same for every size). It is predicted in a fresh process with ``out=``, so that input and results
are read and written by rows. The model is as small as a model can be (a learned stem under a narrow FPN), so that
reading, cutting, blending and writing weigh as much as they ever will. Memory is the peak resident size of the
process; ``loaded`` is what it holds before. Results go to ``benchmarks/results/tiles_cost.json``, sizes that are
there are not run again, and the picture to ``docs/cost.png``. About ten minutes and 7 GB of disk on two cores up to
400; half a minute up to 16.
"""

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import tifffile
import torch
from machine import machine, status
from numpy.typing import NDArray

import segkit
from segkit.data.synthetic import draw_picture

mpl.use("Agg")
import matplotlib.pyplot as plt

RESULTS = Path(__file__).parent / "results" / "tiles_cost.json"
PICTURE = Path(__file__).parents[1] / "docs" / "cost.png"
SQUARE = [(side, side) for side in (500, 1000, 2000, 4000, 8000, 12000, 16000, 20000)]
NARROW = [(height, 4000) for height in (16000, 36000, 64000, 100000)]
TILE = 256  # of the file


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--up-to", type=float, default=400, help="megapixels")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(cost(arguments.one)))
        return
    results: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    for height, width in (*SQUARE, *NARROW):
        name = f"{height}x{width}"
        if name in results or height * width > 1e6 * arguments.up_to:
            continue
        with tempfile.TemporaryDirectory() as temporary:
            file = draw_slide(Path(temporary) / "slide.tif", height, width)
            done = subprocess.run([sys.executable, __file__, "--one", file], check=True, stdout=subprocess.PIPE)
        results[name] = {"megapixels": height * width / 1e6, **json.loads(done.stdout), "machine": machine()}
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")
        print(name, results[name])
    draw(results)


def draw_slide(path: Path, height: int, width: int) -> Path:
    cells = draw_picture(2 * TILE, np.random.default_rng(0))[0]

    def tiles() -> Iterator[NDArray[np.uint8]]:
        for row in range(math.ceil(height / TILE)):
            for column in range(math.ceil(width / TILE)):
                top, left = TILE * (row % 2), TILE * (column % 2)
                yield cells[top : top + TILE, left : left + TILE]

    tifffile.imwrite(
        path,
        tiles(),
        shape=(height, width, 3),
        dtype=np.uint8,
        tile=(TILE, TILE),
        photometric="rgb",
        compression="zlib",
        bigtiff=True,
    )
    return path


def cost(file: Path) -> dict[str, float]:
    torch.manual_seed(0)
    model = segkit.Segmenter.create({"name": "stem", "width": 4}, neck={"name": "fpn", "width": 8}, classes=2)
    predictor = segkit.Predictor(model)
    loaded = status("VmRSS")
    began = time.perf_counter()
    predictor.predict(file, file.parent / "maps")
    seconds = time.perf_counter() - began
    return {"seconds": round(seconds, 2), "peak MiB": status("VmHWM") // 1024, "loaded MiB": loaded // 1024}


def draw(results: dict[str, Any]) -> None:
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
    for what, sizes, colour in (("square", SQUARE, "#0072B2"), ("4,000 wide", [SQUARE[3], *NARROW], "#D55E00")):
        costs = [results[name] for name in (f"{height}x{width}" for height, width in sizes) if name in results]
        megapixels = [one["megapixels"] for one in costs]
        left.plot(megapixels, [one["seconds"] for one in costs], "o-", color=colour, label=what)
        right.plot(megapixels, [one["peak MiB"] / 1024 for one in costs], "o-", color=colour, label=what)
    right.axhline(results["500x500"]["loaded MiB"] / 1024, linestyle="--", color="#777777", label="before")
    left.set(xlabel="megapixels", ylabel="seconds", xlim=0, ylim=0)
    right.set(xlabel="megapixels", ylabel="GiB of memory, peak", xlim=0, ylim=(0, 3))
    right.legend(frameon=False)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(PICTURE, dpi=110)


if __name__ == "__main__":
    main()
