"""The seven-member recipe's 48×64 maps on a dataset: Dice, IoU and calibration of each member and of the ensemble.

    python benchmarks/coarse_maps.py FOLDER... [--epochs 8] [--change KEY=VALUE...] [--runs runs]

Each FOLDER is a dataset folder with a binary task and the splits train, val and test. `seven_member_ensemble` is
trained on train + val, each picture once an epoch, and scored on test; members differ in speed, and all together take
about a minute for each epoch of DRIVE's 20 pictures on two cores. A dataset whose result is already in
``benchmarks/results/coarse_maps.json`` is not run again (delete its key to run it), and a training that was stopped
goes on where it was.

What is scored are the maps themselves, before they are enlarged: p, the sigmoid of a member's 48×64 logits of the whole
picture as it lies, or the mean of the members' p; and t, the share of a cell's counted area that is foreground, the
mask at 384×512 averaged over the cell. A cell counts with w, the part of it that is counted: inside the field of view,
not ignored. All sums run over all cells of all test pictures together.

dice          2·Σw·[p ≥ ½]·[t ≥ ½] / (Σw·[p ≥ ½] + Σw·[t ≥ ½]); iou likewise
share_dice    2·Σw·min(p, t) / (Σw·p + Σw·t), for shares that seldom reach a half, as thin vessels' do
ece           expected calibration error of the foreground's probability: cells in 15 bins of equal width by p,
              Σ over the bins |Σw·p - Σw·t| / Σw
share_error   Σw·|p - t| / Σw
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import torch
from machine import machine
from numpy.typing import NDArray
from whole_run import whole

import segkit
from segkit.data.folder import open_dataset
from segkit.data.resize import resized_ids
from segkit.ensemble import Ensemble
from segkit.errors import UsageError
from segkit.training.coarse import coarse_target

RESULTS = Path(__file__).parent / "results" / "coarse_maps.json"
RECIPE = "seven_member_ensemble"
BINS = 15
Array = NDArray[np.float64]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="+")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--change", nargs="+", default=[], help="further overrides of the recipe")
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--results", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    results = json.loads(arguments.results.read_text()) if arguments.results.is_file() else {}
    # The recipe's average spans a hundred updates, which is all that so short a training has.
    changes = [f"train.epochs={arguments.epochs}", "data.crops_per_image=1", "train.ema=0.9", *arguments.change]
    for data in arguments.data:
        name = open_dataset(data).name
        if name not in results:
            model = trained(data, changes, arguments.runs / name)
            minutes = model.about["trained_on"]["minutes"]
            results[name] = {
                "changes": changes,
                "minutes": minutes,
                "scores": scores(model, data),
                "machine": machine(),
            }
            arguments.results.parent.mkdir(exist_ok=True)
            arguments.results.write_text(json.dumps(results, indent=1) + "\n")
        print(f"\n{name}, {results[name]['minutes']} minutes, {' '.join(results[name]['changes'])}\n")
        print(table(results[name]["scores"]))


def trained(data: Path, changes: Sequence[str], runs: Path) -> Ensemble:
    """The trained ensemble; a training of this dataset that was stopped goes on."""
    try:
        run = segkit.train(RECIPE, data, changes, out=runs, resume=True)
    except UsageError:  # there is none to go on with, or one of another recipe
        run = segkit.train(RECIPE, data, changes, out=runs)
    model = whole(run).model
    assert isinstance(model, Ensemble)
    return model


@torch.inference_mode()
def scores(model: Ensemble, data: Path, split: str = "test") -> dict[str, dict[str, float | None]]:
    """Figures of each member and of the ensemble, by name."""
    folder = open_dataset(data)
    if folder.task != "binary":
        raise SystemExit(f"{data}: the task is {folder.task}; these figures are of binary ones")
    members = list(model.members)
    height, width = members[0].input_size
    maps: dict[str, list[Array]] = {name: [] for name in (*model.names, "ensemble")}
    truths, weights = [], []
    for sample in folder.samples(split):
        pixels = model.reader.read(sample.image)
        mask = folder.read_mask(sample, pixels.shape[:2])
        image = torch.from_numpy(pixels).permute(2, 0, 1)[None]
        found = [member.grid_logits(image).sigmoid()[0, 0].double().numpy() for member in members]
        for name, values in zip(maps, [*found, np.mean(found, axis=0)], strict=True):
            maps[name].append(values)
        target = torch.from_numpy(resized_ids(mask, (height, width))).long()[None]
        truth, weight = coarse_target(target, members[0].output_size, "binary", 2)
        truths.append(truth[0, 0].double().numpy())
        weights.append(weight[0].double().numpy())
    t, w = np.stack(truths), np.stack(weights)
    return {name: figures(np.stack(values), t, w) for name, values in maps.items()}


def figures(p: Array, t: Array, w: Array) -> dict[str, float | None]:
    """What this module's docstring defines, of maps of one shape; None where there is no foreground to speak of."""
    guess, true = p >= 0.5, t >= 0.5
    both, either = (w * (guess & true)).sum(), (w * (guess | true)).sum()
    bins = np.minimum((p * BINS).astype(int), BINS - 1).ravel()
    gaps = np.bincount(bins, (w * (p - t)).ravel(), minlength=BINS)
    return {
        "dice": ratio(2 * both, both + either),
        "iou": ratio(both, either),
        "share_dice": ratio(2 * (w * np.minimum(p, t)).sum(), (w * (p + t)).sum()),
        "ece": ratio(np.abs(gaps).sum(), w.sum()),
        "share_error": ratio((w * np.abs(p - t)).sum(), w.sum()),
    }


def ratio(part: float, whole: float) -> float | None:
    return round(float(part / whole), 4) if whole > 0 else None


def table(found: dict[str, dict[str, float | None]]) -> str:
    """Markdown: a row for each member, their mean, and the ensemble."""
    columns = list(found["ensemble"])
    members = [values for name, values in found.items() if name != "ensemble"]
    means: dict[str, float | None] = {}
    for column in columns:
        defined = [value for values in members if (value := values[column]) is not None]
        means[column] = round(mean(defined), 4) if defined else None
    rows = [*((n, v) for n, v in found.items() if n != "ensemble"), ("mean of the members", means)]
    rows.append(("ensemble", found["ensemble"]))
    lines = ["| model | " + " | ".join(columns) + " |", "|---" * (1 + len(columns)) + "|"]
    lines += [f"| {name} | " + " | ".join(cell(values[column]) for column in columns) + " |" for name, values in rows]
    return "\n".join(lines)


def cell(value: Any) -> str:
    return "" if value is None else f"{value:.4f}"


if __name__ == "__main__":
    main()
