"""How much of a model's score is left where its depth is full of holes, noisy, or beside its picture.

    python benchmarks/depth_robustness.py DATA NAME=MODEL... [--split test] [--seed 0]

DATA is a dataset with depth, or another second modality; each MODEL is a saved one that takes it, NAME what it is
called in the picture. Depth alone is made worse, the pictures stay as they are:

* holes: 0 to 100 % of the measured pixels taken away, one by one at random, or in square blocks of an eighth of the
  shorter side. What a lower share takes away a higher one does too. At 100 % the model goes by the picture alone;
* noise: Gaussian, independent from pixel to pixel, of 0 to 100 % of the standard deviation of the picture's own
  measured values (metric depth stays above 1 mm);
* shift: depth moved to the right of its picture by 0 to 16 pixels, as between two cameras that aren't aligned; what has
  moved in from outside isn't measured.

The score is the one that ``segkit evaluate`` puts first, pooled over the split; settings are those kept with the model.
A model takes about 26 times as long as scoring it once. One whose curves are in
``benchmarks/results/depth_robustness.json`` is not scored again; all are drawn as ``docs/depth_robustness.png``.
"""

import argparse
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from machine import machine
from numpy.typing import NDArray

import segkit
from segkit.data.depth import Depth
from segkit.data.model_input import depth_for
from segkit.errors import DataError, UsageError
from segkit.evaluation.metrics import SegmentationMetrics, headline
from segkit.prediction.depth import Measured
from segkit.prediction.of_sample import check_fit

matplotlib.use("Agg")  # no screen is needed
from matplotlib import pyplot as plt

RESULTS = Path(__file__).parent / "results" / "depth_robustness.json"
PICTURE = Path(__file__).parent.parent / "docs" / "depth_robustness.png"
HOLES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
NOISE = (0.0, 0.05, 0.1, 0.25, 0.5, 1.0)
SHIFT = (0, 1, 2, 4, 8, 16)
NEAREST = 1e-3  # metres

Worse = Callable[[Depth, np.random.Generator], Depth]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("models", nargs="+", metavar="NAME=MODEL")
    parser.add_argument("--split", default="test")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rows: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    for given in arguments.models:
        name, _, model = given.partition("=")
        if name not in rows:
            rows[name] = robustness(Path(model), arguments.data, arguments.split, arguments.seed)
            RESULTS.write_text(json.dumps(rows, indent=1) + "\n")
        for title, curve in rows[name]["curves"].items():
            print(
                f"{name}, {title}:",
                ", ".join(f"{at:g}: {score:.4f}" for at, score in zip(*curve.values(), strict=True)),
            )
    draw(rows, PICTURE)


def robustness(model: Path, data: Path, split: str = "test", seed: int = 0) -> dict[str, Any]:
    """Scores at every step of every curve, ready for JSON.

    Raises:
        UsageError: the model takes images alone.
        DataError: a picture of the split is without depth.
    """
    predictor, folder = segkit.Predictor(model), segkit.open_dataset(data)
    check_fit(predictor.model, folder)
    reader = predictor.model.reader
    if not reader.depth_channels:
        raise UsageError(f"{model}: this model takes images alone; there is no depth to make worse")
    samples = folder.samples(split)
    for sample in samples:
        if sample.depth is None:
            raise DataError(f"{folder.path}: {sample.name} of split {split!r} has no file in depth/")

    def score(worse: Worse) -> float:
        metrics = SegmentationMetrics(folder.classes, folder.task, folder.background, predictor.threshold)
        for number, sample in enumerate(samples):
            image = reader.of_images.read(sample.image)
            depth = depth_for(folder, sample, reader, (image.shape[0], image.shape[1]))
            # The same numbers at every step of a curve, so that one differs from the next by its size alone.
            made = worse(depth.copy(), np.random.default_rng([seed, number]))
            labels = predictor.predict(sample.image, depth=Measured(made)).labels
            metrics.update(sample.name, labels, folder.read_mask(sample, labels.shape[-2:]))
        results.append(metrics.compute())
        return round(headline(results[-1])[1], 4)

    results: list[dict[str, Any]] = []
    curves: dict[str, Any] = {}
    untouched = None
    for title, steps, worse_by in worsened(metric=reader.metric):
        scores = []
        for step in steps:
            if step == 0:
                untouched = score(lambda depth, _: depth) if untouched is None else untouched
            scores.append(untouched if step == 0 else score(worse_by(step)))
        curves[title] = {"at": list(steps), "score": scores}
    return {
        "data": folder.name,
        "split": split,
        "pictures": len(samples),
        "score": headline(results[0])[0],
        "seed": seed,
        "curves": curves,
        "machine": machine(),
    }


def worsened(*, metric: bool) -> Iterator[tuple[str, tuple[float, ...], Callable[[float], Worse]]]:
    """Each curve's title, its steps, and what makes depth worse by a step."""
    yield "holes at random", HOLES, lambda share: lambda depth, rng: with_holes(depth, share, 1, rng)
    yield (
        "holes in blocks",
        HOLES,
        lambda share: lambda depth, rng: with_holes(depth, share, max(1, min(depth.shape[:2]) // 8), rng),
    )
    yield "noise", NOISE, lambda size: lambda depth, rng: with_noise(depth, size, rng, metric=metric)
    yield "shift in pixels", SHIFT, lambda pixels: lambda depth, _: shifted(depth, int(pixels))


def with_holes(depth: Depth, share: float, block: int, rng: np.random.Generator) -> Depth:
    """Depth [H, W, C + 1] with that share of its measured pixels taken away, block after block of the sides given."""
    height, width = depth.shape[:2]
    blocks = rng.random((-(-height // block), -(-width // block)))
    order = np.repeat(np.repeat(blocks, block, axis=0), block, axis=1)[:height, :width]
    measured = np.flatnonzero(depth[..., -1] > 0)
    gone = measured[np.argsort(order.ravel()[measured], kind="stable")][: round(share * len(measured))]
    depth.reshape(-1, depth.shape[2])[gone] = 0
    return depth


def with_noise(depth: Depth, size: float, rng: np.random.Generator, *, metric: bool) -> Depth:
    """Depth whose measured values have noise of that share of their own standard deviation, channel by channel."""
    measured = depth[..., -1] > 0
    noise = rng.standard_normal((*measured.shape, depth.shape[2] - 1), np.float32)
    values = depth[..., :-1]
    spread = values[measured].std(axis=0) if measured.any() else 0
    made: NDArray[np.float32] = values + np.float32(size) * spread * noise
    if metric:
        made = made.clip(NEAREST)
    depth[..., :-1] = np.where(measured[..., None], made, 0)
    return depth


def shifted(depth: Depth, pixels: int) -> Depth:
    """Depth moved to the right; what moves in from outside isn't measured."""
    made = np.zeros_like(depth)
    made[:, pixels:] = depth[:, : depth.shape[1] - pixels]
    return made


def draw(rows: dict[str, dict[str, Any]], path: Path) -> None:
    """Every model's curves in four panels over one axis of scores, with its score without any depth as a line."""
    labels = {
        "holes at random": "share of depth removed, at random",
        "holes in blocks": "share of depth removed, in blocks",
        "noise": "noise, of the values' deviation",
        "shift in pixels": "shift in pixels",
    }
    figure, axes = plt.subplots(1, 4, figsize=(13, 3.4), sharey=True, layout="constrained")
    for axis, (title, label) in zip(axes, labels.items(), strict=True):
        for number, (name, found) in enumerate(rows.items()):
            curve, without = found["curves"][title], found["curves"]["holes at random"]["score"][-1]
            axis.plot(curve["at"], curve["score"], marker="o", color=f"C{number}", label=name)
            axis.axhline(without, color=f"C{number}", linestyle="--", linewidth=1)
        axis.set_xlabel(label)
        axis.grid(alpha=0.3)
    first = next(iter(rows.values()))
    axes[0].set_ylabel(first["score"])
    axes[-1].legend(title="dashed: without depth", loc="lower left", fontsize=8, title_fontsize=8)
    figure.suptitle(f"{first['data']}, {first['split']}: {first['pictures']} pictures")
    figure.savefig(path, dpi=120)
    plt.close(figure)


if __name__ == "__main__":
    main()
