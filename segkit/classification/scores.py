"""How good probabilities of classes are, and how far each score could be off had other images been drawn."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from segkit.errors import UsageError
from segkit.evaluation.calibration import BINS, SMALLEST
from segkit.evaluation.intervals import LEVEL, RESAMPLES, SEED, Interval, percentiles, resampled
from segkit.evaluation.scores import mean_of_defined, shares

Array = NDArray[np.float64]
Labels = NDArray[np.int64]

TOP = 5
MEANS = ("top1", "top5", "nll", "brier")
NORMAL = 1.959964  # deviations from the mean that hold 95 %

DEFINITIONS = {
    "top1": "share of the images whose most probable class is the true one; of equal probabilities the first class's",
    "top5": "share of the images whose true class is among the five most probable; 1 where there are no more than five",
    "nll": "negative log-likelihood: -ln of the probability given to the true class, in nats, mean over the images; "
    f"probabilities below {SMALLEST:.2g} count as that. 0 is best",
    "brier": "sum over the classes of the squared difference between probability and truth (0..2), mean over the "
    "images. 0 is best",
    "ece": f"expected calibration error: images in {BINS} bins of equal width by the most probable class's "
    "probability; the distance between its mean and the share of images where that class is the true one, weighted by "
    "the bins' images. 0 is best",
    "mean_class_accuracy": "mean over the classes that occur of the share of a class's images that are given it "
    "(balanced accuracy)",
    "accuracy": "of a class: the share of its images that are given it (recall)",
}


def ranks(probabilities: NDArray[np.floating], labels: Labels) -> Labels:
    """Place of each image's true class among its classes by probability, int64 [N], 0 the most probable.

    Equal probabilities are ordered by the classes' ids, so that place 0 is what ``argmax`` says. A true class whose
    probability is not a number comes after all.

    Args:
        probabilities: [N, K].
        labels: ids of the true classes [N].
    """
    own = probabilities[np.arange(len(labels)), labels][:, None]
    earlier = np.arange(probabilities.shape[1]) < labels[:, None]
    found: Labels = (~(probabilities <= own) | ((probabilities == own) & earlier)).sum(1)
    return found


def classification_scores(
    probabilities: NDArray[np.floating],
    labels: Labels,
    classes: Sequence[str],
    *,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> dict[str, Any]:
    """All scores of one set of images, ready for JSON.

    Args:
        probabilities: [N, K] in 0..1, each row's sum 1.
        labels: ids of the true classes, [N].
        classes: names by id.
        resamples, seed: of the intervals; 0 leaves them out.

    Returns:
        ``top1``, ``top5``, ``nll``, ``brier``, ``ece``, ``mean_class_accuracy``; ``per_class`` with ``images`` and
        ``accuracy`` (None without images) by name; ``bins`` of the calibration; ``definitions``; and ``intervals``:
        95 % intervals under the same names: Wilson's of accuracies, percentile bootstraps over images of the others
        (Efron, Annals of Statistics, 1979), None of the calibration error, which is a biased estimate, and where fewer
        than two images have the score.

    Raises:
        UsageError: no images, shapes that don't fit, or labels outside the classes.
    """
    _check(probabilities, labels, classes)
    rows, bins = _rows(probabilities, labels), _binned(probabilities, labels, BINS)
    by_class = _by_class(probabilities, labels)
    sums = np.concatenate([np.stack([rows[name] for name in MEANS], 1).sum(0), bins.sum(0), by_class.sum(0)])
    found = _scores_of(sums[None], len(labels), len(classes))
    accuracies, images = found.pop("per_class")[0], by_class.sum(0)[len(classes) :]
    count, confidence, right = bins.sum(0).reshape(3, BINS)
    scores: dict[str, Any] = {name: _number(values[0]) for name, values in found.items()}
    return {
        **scores,
        "per_class": {
            name: {"images": int(n), "accuracy": _number(accuracy)}
            for name, n, accuracy in zip(classes, images, accuracies, strict=True)
        },
        "bins": [
            {
                "from": i / BINS,
                "to": (i + 1) / BINS,
                "images": int(n),
                "confidence": float(c / n) if n else None,
                "right": float(r / n) if n else None,
            }
            for i, (n, c, r) in enumerate(zip(count, confidence, right, strict=True))
        ],
        "intervals": _intervals(rows, bins, by_class, classes, resamples, seed) if resamples else None,
        "definitions": DEFINITIONS,
    }


def _rows(probabilities: NDArray[np.floating], labels: Labels) -> dict[str, Array]:
    """What the scores that are means are means of, by name, [N] each."""
    p = probabilities.astype(np.float64)
    place = ranks(probabilities, labels)
    own = p[np.arange(len(labels)), labels]
    return {
        "top1": (place < 1).astype(np.float64),
        "top5": (place < TOP).astype(np.float64),
        "nll": -np.log(np.maximum(own, SMALLEST)),
        "brier": (p**2).sum(1) - 2 * own + 1,
    }


def _binned(probabilities: NDArray[np.floating], labels: Labels, bins: int) -> csr_array:
    """In each image's bin 1, its confidence, and whether it is right: [N, 3 · bins]."""
    confidence = probabilities.max(1).astype(np.float64)
    right = probabilities.argmax(1) == labels
    into = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    values = np.stack([np.ones(len(labels)), confidence, right], 1)
    columns = into[:, None] + bins * np.arange(3)
    return _sparse(values, columns, 3 * bins)


def _by_class(probabilities: NDArray[np.floating], labels: Labels) -> csr_array:
    """In each image's true class whether it is right, and 1: [N, 2 · K]."""
    classes = probabilities.shape[1]
    right = probabilities.argmax(1) == labels
    values = np.stack([right, np.ones(len(labels))], 1).astype(np.float64)
    return _sparse(values, labels[:, None] + classes * np.arange(2), 2 * classes)


def _sparse(values: Array, columns: Labels, width: int) -> csr_array:
    """Rows [N, width] with these values [N, n] in these columns [N, n], and zeros elsewhere."""
    count, each = values.shape
    return csr_array((values.reshape(-1), columns.reshape(-1), np.arange(count + 1) * each), shape=(count, width))


def _scores_of(sums: Array, images: int, classes: int) -> dict[str, Array]:
    """The scores [R], and ``per_class`` [R, K], of sums [R, F] over as many images."""
    means = sums[:, : len(MEANS)] / images
    bins, by_class = np.split(sums[:, len(MEANS) :], [3 * BINS], axis=1)
    _, confidence, right = np.split(bins, 3, axis=1)
    accuracies = shares(by_class[:, :classes], by_class[:, classes:])
    return {
        **{name: means[:, column] for column, name in enumerate(MEANS)},
        "ece": np.abs(confidence - right).sum(1) / images,
        "mean_class_accuracy": mean_of_defined(accuracies),
        "per_class": accuracies,
    }


def _intervals(
    rows: dict[str, Array], bins: csr_array, by_class: csr_array, classes: Sequence[str], resamples: int, seed: int
) -> dict[str, Any]:
    images = bins.shape[0]
    means = np.stack([rows[name] for name in MEANS], 1)

    def statistic(times: Array) -> dict[str, Array]:
        sums = np.concatenate([times @ means, (bins.T @ times.T).T, (by_class.T @ times.T).T], axis=1)
        return _scores_of(sums, images, len(classes))

    drawn = resampled(statistic, images, resamples, seed)
    right, occurs = np.split(by_class.sum(0).astype(np.int64), 2)
    found = {name: percentiles(values[:, None], images)[0] for name, values in drawn.items() if name != "per_class"}
    return {
        "level": LEVEL,
        "method": "percentile bootstrap over images; of shares of images Wilson's",
        "resamples": resamples,
        "seed": seed,
        **found,
        **{name: wilson(int(rows[name].sum()), images) for name in ("top1", "top5")},
        "ece": None,  # resampling adds noise to what is a sum of amounts of noise: it would lie above the score itself
        "per_class": {name: wilson(int(k), int(n)) for name, k, n in zip(classes, right, occurs, strict=True)},
    }


def wilson(right: int, of: int) -> Interval:
    """The 95 % score interval of a share (Wilson, JASA 1927), which has a width where all or none are right too.

    None for fewer than two.

    >>> [round(end, 4) for end in wilson(20, 20)]
    [0.8389, 1.0]
    """
    if of < 2:
        return None
    share, extra = right / of, NORMAL**2 / of
    middle = (share + extra / 2) / (1 + extra)
    half = NORMAL * (share * (1 - share) / of + extra / (4 * of)) ** 0.5 / (1 + extra)
    return [max(0.0, middle - half), min(1.0, middle + half)]


def _check(probabilities: NDArray[np.floating], labels: Labels, classes: Sequence[str]) -> None:
    if probabilities.shape != (len(labels), len(classes)) or not len(labels):
        raise UsageError(
            f"probabilities {list(probabilities.shape)} of {len(labels)} labels and {len(classes)} classes; "
            f"expected {[max(len(labels), 1), len(classes)]}"
        )
    if labels.min() < 0 or labels.max() >= len(classes):
        raise UsageError(f"labels run from {labels.min()} to {labels.max()}; ids of {len(classes)} classes begin at 0")


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
