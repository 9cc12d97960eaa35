"""Labels of probabilities that are smoothed, or of classes with thresholds of their own."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from segkit.labels import labels_of
from segkit.postprocessing.strips import Ids, strips
from segkit.task import Task

REACH = 4.0  # deviations, after which the Gaussian ends

Maps = NDArray[np.float32]
Threshold = float | NDArray[np.float32]


def relabelled(
    probabilities: Maps,
    deviations: Sequence[float] | None,
    thresholds: Mapping[int, float],
    *,
    task: Task,
    background: int | None,
    threshold: Threshold,
) -> Iterator[Ids]:
    """Rows of labels [h, …], or [K, h, …] for multilabel.

    Args:
        probabilities: [K, H, W] or [K, I, J, L]; may be a file's.
        deviations: of the Gaussian along each axis, in pixels; None: not smoothed.
        thresholds: by map.
        task: binary, multilabel or multiclass.
        background: the label of it, which always is a candidate.
        threshold: of the other maps, binary and multilabel; one, or one a map in the maps' dimensions.
    """
    for rows in strips(probabilities.shape[1:], values=len(probabilities), least=_least(deviations)):
        maps = smoothed(probabilities, deviations, rows) if deviations else np.asarray(probabilities[:, rows])
        if task == "multiclass":
            yield _most_probable(maps, thresholds, background)
        else:
            each = np.broadcast_to(np.ravel(threshold), len(maps)).astype(np.float32)
            each[list(thresholds)] = list(thresholds.values())
            yield labels_of(maps, task, each.reshape(-1, *[1] * (maps.ndim - 1)))


def smoothed(probabilities: Maps, deviations: Sequence[float], rows: slice) -> Maps:
    """Rows of probabilities [K, H, W] or [K, I, J, L], averaged over the pixels around by a Gaussian's weights.

    At the border the weights of the pixels that are there come to 1. The rows are the same, to the last bit, whichever
    are asked for together.
    """
    height = probabilities.shape[1]
    margin = _radius(deviations[0])
    first, last = max(rows.start - margin, 0), min(rows.stop + margin, height)
    found: Maps = np.asarray(probabilities[:, first:last], np.float32)
    for axis, deviation in enumerate(deviations, start=1):
        size = probabilities.shape[axis]
        there = gaussian_filter1d(np.ones(size), deviation, mode="constant", radius=_radius(deviation))
        there = there[first:last] if axis == 1 else there
        found = gaussian_filter1d(found, deviation, axis=axis, mode="constant", radius=_radius(deviation))
        found /= there.astype(np.float32).reshape(-1, *[1] * (found.ndim - 1 - axis))
    return found[:, rows.start - first : rows.stop - first]


def _radius(deviation: float) -> int:
    return int(REACH * deviation + 0.5)


def _least(deviations: Sequence[float] | None) -> int:
    """Rows that are worth their margins."""
    return 2 * _radius(deviations[0]) if deviations else 1


def _most_probable(maps: Maps, thresholds: Mapping[int, float], background: int | None) -> Ids:
    """The most probable class of those whose probability reaches their threshold, the first of equals."""
    if not thresholds:
        return labels_of(maps, "multiclass")
    candidates = maps.copy()
    for k, threshold in thresholds.items():
        np.copyto(candidates[k], -1, where=maps[k] < threshold)
    found = labels_of(candidates, "multiclass")
    if background is None and len(thresholds) == len(maps):
        np.copyto(found, labels_of(maps, "multiclass"), where=candidates.max(0) < 0)
    return found
