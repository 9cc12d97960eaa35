"""The largest distance between two points of one group, without looking at every pair."""

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull
from scipy.spatial.distance import cdist

FEW = 200  # points of which every pair is looked at sooner than a hull is found
ROWS = 512  # points whose distances to all others are held at a time
STEP = math.pi / 8  # between the directions that groups are compared along


def largest_distance(points: NDArray[np.int64], groups: NDArray[np.integer], matrix: NDArray[np.float64]) -> float:
    """The largest distance between two points of one group; 0 where every group is a single point.

    It is exact: found among the corners of the convex hulls of those groups that can have it.

    Args:
        points: indices [N, D], D = 2 or 3, at least one.
        groups: the number of each point's group, [N].
        matrix: what makes lengths of steps along the indices, [D, D]; its columns are the steps.
    """
    order = np.argsort(groups, kind="stable")
    points, groups = points[order], groups[order]
    starts = np.flatnonzero(np.diff(groups, prepend=groups[0] - 1))
    stops = np.append(starts[1:], len(points))
    at_most = _bounds(points @ matrix.T, starts) if len(starts) > 1 else np.full(1, np.inf)
    best = 0.0
    for group in np.argsort(-at_most, kind="stable"):
        if at_most[group] <= best:
            break
        best = max(best, _farthest(points[starts[group] : stops[group]], matrix))
    return best


def _bounds(places: NDArray[np.float64], starts: NDArray[np.int64]) -> NDArray[np.float64]:
    """A length that no two points of a group are further apart than, for each group; 0 where it can't be the largest.

    The widths of a group along some directions are never more than its largest distance, and one of the directions is
    so near to that distance's own that its width is not much less.
    """
    widths = np.zeros(len(starts))
    for direction in _directions(places.shape[1]):
        along = places @ direction
        np.maximum(widths, np.maximum.reduceat(along, starts) - np.minimum.reduceat(along, starts), out=widths)
    nearest = STEP / 2 if places.shape[1] == 2 else STEP / math.sqrt(2)
    at_most = widths / math.cos(nearest) * (1 + 1e-9)
    return np.where(at_most >= widths.max(), at_most, 0.0)


def _directions(dimensions: int) -> Iterator[NDArray[np.float64]]:
    """Unit vectors over a half circle, or the half sphere: from any, one is half a step away at most in both angles."""
    middles = (np.arange(round(2 * math.pi / STEP)) + 0.5) * STEP
    if dimensions == 2:
        yield from (np.array([math.cos(angle), math.sin(angle)]) for angle in middles[: len(middles) // 2])
        return
    for down in middles[: len(middles) // 4]:
        for around in middles:
            flat = math.sin(down)
            yield np.array([flat * math.cos(around), flat * math.sin(around), math.cos(down)])


def _farthest(points: NDArray[np.int64], matrix: NDArray[np.float64]) -> float:
    """The largest distance between two of the points."""
    corners = _corners(points) if len(points) > FEW else points
    places = corners @ matrix.T
    return max(float(cdist(places[top : top + ROWS], places).max()) for top in range(0, len(places), ROWS))


def _corners(points: NDArray[np.int64]) -> NDArray[np.int64]:
    """Of many points, those at the corners of their convex hull, be it a body, an area or a line."""
    centred = points - points.mean(0)
    _, lengths, axes = np.linalg.svd(centred, full_matrices=False)
    axes = axes[lengths > 1e-11 * lengths[0]]  # indices are whole numbers: what is less than this is rounding
    if len(axes) == 1:
        along = centred @ axes[0]
        return points[[along.argmin(), along.argmax()]]
    hull = ConvexHull(points if len(axes) == points.shape[1] else centred @ axes.T)
    corners: NDArray[np.int64] = points[hull.vertices]
    return corners
