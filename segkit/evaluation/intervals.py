"""How far each score could be off had other images been drawn: bootstrap intervals over images, or over groups."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segkit.data.folder import DatasetFolder, Sample
from segkit.evaluation.scores import CLASS_SCORES, PER_IMAGE, Array, image_scores, overlap_scores, shares
from segkit.task import Task

LEVEL, RESAMPLES, SEED = 0.95, 2000, 0
LARGEST_BLOCK = 1 << 22  # multiplicities held at a time

Interval = list[float] | None


def units_of(folder: DatasetFolder, samples: Sequence[Sample]) -> tuple[NDArray[np.int64], str]:
    """Which unit each image belongs to, int64 [N], and what a unit is: ``image``, or ``group`` where there are groups.

    The images of one patient resemble one another, so that drawing them one by one would promise too much. An image
    that is in no group is a unit by itself.
    """
    group_of = {stem: ("group", group) for group, stems in folder.groups.items() for stem in stems}
    names = [group_of.get(sample.name, ("image", sample.name)) for sample in samples]
    order = {name: i for i, name in enumerate(dict.fromkeys(names))}
    return np.array([order[name] for name in names], np.int64), "group" if folder.groups else "image"


class UnitSums:
    """One row of sums a unit, from weighted totals of which every score follows.

    Args:
        counts: TP, FP, FN, TN of every class in every image, int64 [N, 4, K].
        units: the unit of each image, int64 [N].
        task: binary, multilabel or multiclass.
        kept: ids of the classes that aren't background.
        each: the images' own scores, by default those of :func:`per_image`; NaN leaves an image out of a mean.
    """

    def __init__(
        self,
        counts: NDArray[np.int64],
        units: NDArray[np.int64],
        task: Task,
        kept: Sequence[int],
        each: Mapping[str, Array] | None = None,
    ) -> None:
        self._kept, self._shape = list(kept), counts.shape[1:]
        each = per_image(counts, task, kept) if each is None else each
        columns = [counts.reshape(len(counts), -1).astype(np.float64)]
        for values in each.values():
            table = values.reshape(len(counts), -1)
            columns += [np.where(np.isnan(table), 0, table), ~np.isnan(table)]
        images = np.concatenate(columns, axis=1)  # [N, F]
        self.rows: Array = np.zeros((units.max() + 1, images.shape[1]))
        np.add.at(self.rows, units, images)  # [N, F] → [U, F]
        self._widths = {name: values.reshape(len(counts), -1).shape[1] for name, values in each.items()}

    def scores(self, totals: Array) -> dict[str, Array]:
        """Scores [R] or [R, K], by name, of totals [R, F] of the rows: ``pooled …`` and ``mean over images …``."""
        start = int(np.prod(self._shape))
        pooled = overlap_scores(totals[:, :start].reshape(-1, *self._shape), self._kept)
        found = {f"pooled {name}": values for name, values in pooled.items()}
        for name, width in self._widths.items():
            middle, end = start + width, start + 2 * width
            found[f"mean over images {name}"] = shares(totals[:, start:middle], totals[:, middle:end])
            start = end
        return {name: values[:, 0] if values.shape[1:] == (1,) else values for name, values in found.items()}


def per_image(counts: NDArray[np.int64], task: Task, kept: Sequence[int]) -> dict[str, Array]:
    """Scores of each image by itself: ``dice`` and ``iou`` [N, K], and ``image``, the one it is judged by, [N, 1]."""
    scores = overlap_scores(counts, kept)
    return {"dice": scores["dice"], "iou": scores["iou"], "image": image_scores(counts, task, kept)[:, None]}


def multiplicities(units: int, resamples: int, seed: int) -> Iterator[Array]:
    """How often each unit is drawn in each resample with replacement, in blocks [r, units] that fit into memory."""
    generator = np.random.default_rng(seed)
    block = max(1, LARGEST_BLOCK // units)
    for start in range(0, resamples, block):
        rows = min(block, resamples - start)
        yield generator.multinomial(units, np.full(units, 1 / units), size=rows).astype(np.float64)


def resampled(
    statistic: Callable[[Array], dict[str, Array]], units: int, resamples: int, seed: int
) -> dict[str, Array]:
    """What ``statistic`` makes of multiplicities [r, units], put together over all resamples, [R] or [R, K] a score."""
    blocks = [statistic(block) for block in multiplicities(units, resamples, seed)]
    return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}


def percentiles(values: Array, defined_in: NDArray[np.int64] | int) -> list[Interval]:
    """The middle 95 % of resampled scores [R, K], a low and a high end a column.

    None where the score is defined in fewer than two units. Resamples in which it is undefined are left out.
    """
    ends: list[Interval] = []
    share = (1 - LEVEL) / 2
    for column, occurs in zip(values.T, np.broadcast_to(defined_in, values.shape[1]), strict=True):
        defined = column[~np.isnan(column)]
        enough = occurs >= 2 and defined.size > 0
        ends.append([float(end) for end in np.quantile(defined, [share, 1 - share])] if enough else None)
    return ends


def score_intervals(
    counts: NDArray[np.int64],
    units: NDArray[np.int64],
    unit: str,
    *,
    classes: Sequence[str],
    task: Task,
    kept: Sequence[int],
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> dict[str, Any]:
    """95 % percentile bootstrap intervals [low, high] of the scores, laid out as the scores themselves are.

    Units are drawn with replacement, as many as there are, and every score is computed anew of each draw (Efron,
    Annals of Statistics, 1979). An interval is None with fewer than two units in which its score is defined.

    Args:
        counts: TP, FP, FN, TN of every class in every image, int64 [N, 4, K].
        units, unit: of :func:`units_of`.
        classes: names by id.
        task: binary, multilabel or multiclass.
        kept: ids of the classes that aren't background.
        resamples, seed: how many draws, and what they follow from.
    """
    sums = UnitSums(counts, units, task, kept)
    count = len(sums.rows)
    drawn = resampled(lambda times: sums.scores(times @ sums.rows), count, resamples, seed)
    alone = sums.scores(sums.rows)  # each unit by itself

    found = {}
    for name, values in drawn.items():
        columns, defined = values.reshape(len(values), -1), ~np.isnan(alone[name].reshape(count, -1))
        found[name] = percentiles(columns, defined.sum(0))
    means = [name for name in found if name.startswith("pooled mean_")]
    return {
        "level": LEVEL,
        "method": f"percentile bootstrap over {unit}s",
        "unit": unit,
        "units": count,
        "resamples": resamples,
        "seed": seed,
        "pooled": {
            "per_class": {
                name: {score: found[f"pooled {score}"][k] for score in CLASS_SCORES} for k, name in enumerate(classes)
            },
            **{name.removeprefix("pooled "): found[name][0] for name in means},
        },
        "mean_over_images": {
            "per_class": {
                name: {score: found[f"mean over images {score}"][k] for score in PER_IMAGE}
                for k, name in enumerate(classes)
            }
        },
    }
