"""How two models differ on the same images: differences with their intervals, and how easily chance makes them."""

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segkit.evaluation.intervals import (
    LARGEST_BLOCK,
    LEVEL,
    RESAMPLES,
    SEED,
    UnitSums,
    per_image,
    percentiles,
    resampled,
)
from segkit.evaluation.scores import Array, image_score_name, image_scores
from segkit.task import Task

EXACT = 12  # units up to which every way of exchanging the two is tried: at most 4,096
EXCHANGES = 9_999
ROUNDING = 1e-12  # differences this near to one another are equal


def paired(
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    units: NDArray[np.int64],
    unit: str,
    *,
    classes: Sequence[str],
    task: Task,
    background: int | None,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> dict[str, Any]:
    """Second minus first, score by score, ready for JSON.

    Keys: ``scores``, a list with ``of``, ``averaged``, ``first``, ``second``, ``difference``, its 95 % ``interval`` and
    ``p``; ``better``, how many images each is better on; ``images``, a row an image; and how it was done.

    The interval is a percentile bootstrap of the difference: units are drawn with replacement, the same for both. p is
    the share of ways to exchange the two models' results unit by unit that give at least as large a difference, of all
    ways with up to 12 units, else of 9,999 random ones and the one at hand. Means over images take the images where
    both scores are defined, pooled scores all of them.

    Args:
        first, second: TP, FP, FN, TN of every class in every image, int64 [N, 4, K], of the same images.
        units, unit: of ``segkit.evaluation.intervals.units_of``.
        classes: names by id.
        task: binary, multilabel or multiclass.
        background: id of the background, or None.
    """
    kept = [k for k in range(len(classes)) if k != background]
    a, b = _on_the_same_images(first, second, units, task, kept)
    count = len(a.rows)
    totals = a.rows.sum(0, keepdims=True), b.rows.sum(0, keepdims=True)
    whole = a.scores(totals[0]), b.scores(totals[1])
    drawn = resampled(lambda times: _differences(a, b, times @ a.rows, times @ b.rows), count, resamples, seed)
    swapped = _exchanged(a, b, totals, seed) if count > 1 else None
    alone = {name: ~np.isnan(values) for name, values in _differences(a, b, a.rows, b.rows).items()}

    rows = []
    for of, averaged, key, k in _shown(classes, task, background):
        ours, theirs = (float(_column(scores[key], k)[0]) for scores in whole)
        difference = theirs - ours
        occurs = int(_column(alone[key], k).sum())
        interval = percentiles(_column(drawn[key], k)[:, None], occurs)[0]
        chance = None if swapped is None else _share_as_large(_column(swapped[key], k), difference, count)
        values = {"first": ours, "second": theirs, "difference": difference}
        defined = {name: None if np.isnan(value) else value for name, value in values.items()}
        rows.append({"of": of, "averaged": averaged, **defined, "interval": interval, "p": chance})
    return {
        "scores": rows,
        **_image_by_image(first, second, task, kept),
        "score_of_an_image": image_score_name(task, classes, background),
        "level": LEVEL,
        "unit": unit,
        "units": count,
        "resamples": resamples,
        "seed": seed,
        "exchanges": 2**count if count <= EXACT else EXCHANGES,
    }


def exchanges(units: int, seed: int) -> Iterator[Array]:
    """Ways to exchange two models' results, 0 or 1 a unit, in blocks [ways, units]; all up to 12 units, else random."""
    if units <= EXACT:
        yield np.array(list(product((0.0, 1.0), repeat=units)))
        return
    generator, block = np.random.default_rng(seed), max(1, LARGEST_BLOCK // units)
    for start in range(0, EXCHANGES, block):
        yield generator.integers(0, 2, (min(block, EXCHANGES - start), units)).astype(np.float64)


def _exchanged(a: UnitSums, b: UnitSums, totals: tuple[Array, Array], seed: int) -> dict[str, Array]:
    """Every score's difference in each way to exchange the two, [ways] or [ways, K]."""
    blocks = []
    for ways in exchanges(len(a.rows), seed):
        moved = ways @ (b.rows - a.rows)
        blocks.append(_differences(a, b, totals[0] + moved, totals[1] - moved))
    return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}


def _on_the_same_images(
    first: NDArray[np.int64], second: NDArray[np.int64], units: NDArray[np.int64], task: Task, kept: Sequence[int]
) -> tuple[UnitSums, UnitSums]:
    """Sums of both, in which an image whose score is undefined for one is left out of the means of both."""
    ours, theirs = per_image(first, task, kept), per_image(second, task, kept)
    both = {name: ~(np.isnan(ours[name]) | np.isnan(theirs[name])) for name in ours}
    a, b = ({name: np.where(both[name], each[name], np.nan) for name in each} for each in (ours, theirs))
    return UnitSums(first, units, task, kept, a), UnitSums(second, units, task, kept, b)


def _differences(a: UnitSums, b: UnitSums, ours: Array, theirs: Array) -> dict[str, Array]:
    first, second = a.scores(ours), b.scores(theirs)
    return {name: second[name] - first[name] for name in first}


def _column(values: NDArray[Any], k: int | None) -> NDArray[Any]:
    return values if k is None else values[:, k]


def _share_as_large(differences: Array, observed: float, units: int) -> float | None:
    """Share of exchanges with a difference as large as the observed one, whatever its sign; None where undefined."""
    differences = differences[~np.isnan(differences)]
    if np.isnan(observed) or not differences.size:
        return None
    as_large = int((np.abs(differences) >= abs(observed) - ROUNDING).sum())
    if units <= EXACT:
        return as_large / differences.size
    return (as_large + 1) / (differences.size + 1)  # the one at hand is one of the ways


def _shown(classes: Sequence[str], task: Task, background: int | None) -> list[tuple[str, str, str, int | None]]:
    """What is compared, the headline first: its name, how it is averaged, its key in the sums, and its column."""
    pooled, mean = "pooled", "mean over images"
    if task == "binary":
        return [
            (f"{name} of {classes[1]}", how, f"{how} {score}", 1)
            for how in (pooled, mean)
            for name, score in (("Dice", "dice"), ("IoU", "iou"))
        ]
    suffix, without = ("", "") if background is None else ("_without_background", " without background")
    rows: list[tuple[str, str, str, int | None]] = [
        (f"mean IoU{without}", pooled, f"pooled mean_iou{suffix}", None),
        (f"mean Dice{without}", pooled, f"pooled mean_dice{suffix}", None),
        (f"mean IoU{without}", mean, "mean over images image", None),
    ]
    return rows + [(f"Dice of {name}", pooled, "pooled dice", k) for k, name in enumerate(classes)]


def _image_by_image(
    first: NDArray[np.int64], second: NDArray[np.int64], task: Task, kept: Sequence[int]
) -> dict[str, Any]:
    """Every image's two scores, and on how many each model is better.

    Where the class isn't there and one of the two rightly draws nothing, that one has no score, and is the better one.
    """
    ours, theirs = image_scores(first, task, kept), image_scores(second, task, kept)
    a, b = (np.where(np.isnan(scores), np.inf, scores) for scores in (ours, theirs))
    with np.errstate(invalid="ignore"):  # two undefined scores are equal, although inf - inf isn't 0
        equal = (a == b) | (np.abs(a - b) <= ROUNDING)
    better = {
        "first": int((~equal & (a > b)).sum()),
        "second": int((~equal & (b > a)).sum()),
        "equal": int(equal.sum()),
    }
    rows = [
        {"first": None if np.isnan(x) else float(x), "second": None if np.isnan(y) else float(y)}
        for x, y in zip(ours, theirs, strict=True)
    ]
    return {"better": better, "images": rows}
