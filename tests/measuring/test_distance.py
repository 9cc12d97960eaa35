import numpy as np
import pytest
from scipy.spatial.distance import pdist

from segkit.measuring import distance
from segkit.measuring.distance import largest_distance

SHEARED = np.array([[0.7, 0.2, 0.1], [0.0, 0.9, -0.4], [0.1, 0.0, 3.0]])


def brute(points, groups, matrix):
    return max(
        (pdist(points[groups == group] @ matrix.T).max() for group in np.unique(groups) if (groups == group).sum() > 1),
        default=0.0,
    )


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("seed", range(12))
def test_it_is_what_looking_at_every_pair_gives(dimensions, seed):
    rng = np.random.default_rng(seed)
    points = rng.integers(0, 30, (600, dimensions))
    groups = rng.integers(0, int(rng.integers(1, 150)), 600)
    matrix = rng.standard_normal((dimensions, dimensions))
    assert largest_distance(points, groups, matrix) == pytest.approx(brute(points, groups, matrix), rel=1e-12)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_of_many_groups_alike_none_that_may_have_it_is_passed_over(dimensions):
    rng = np.random.default_rng(5)
    shape = rng.integers(0, 12, (20, dimensions))
    points = np.concatenate([shape + rng.integers(0, 2, shape.shape) + 50 * i for i in range(200)])
    groups = np.repeat(np.arange(200), 20)
    assert largest_distance(points, groups, np.eye(dimensions)) == pytest.approx(
        brute(points, groups, np.eye(dimensions))
    )


def test_no_direction_is_further_from_those_compared_than_the_bound_allows():
    for dimensions, nearest in ((2, distance.STEP / 2), (3, distance.STEP / np.sqrt(2))):
        sample = np.random.default_rng(0).standard_normal((20000, dimensions))
        sample /= np.linalg.norm(sample, axis=1, keepdims=True)
        compared = np.array(list(distance._directions(dimensions)))
        assert np.linalg.norm(compared, axis=1) == pytest.approx(1)
        assert np.abs(sample @ compared.T).max(1).min() >= np.cos(nearest)


def test_a_group_of_one_point_has_no_length():
    assert largest_distance(np.array([[3, 4], [10, 20]]), np.array([0, 1]), np.eye(2)) == 0
    assert largest_distance(np.array([[3, 4, 5], [3, 4, 5]]), np.array([7, 7]), np.eye(3)) == 0


STEPS = np.arange(400)
FLAT = np.stack(np.meshgrid(np.arange(20), np.arange(25)), -1).reshape(-1, 2)


@pytest.mark.parametrize(
    ("points", "ends"),
    [
        (np.column_stack([STEPS, 2 * STEPS]), [399, 798]),
        (np.column_stack([STEPS, 0 * STEPS, 3 * STEPS]), [399, 0, 1197]),
        (np.column_stack([0 * STEPS, 0 * STEPS, STEPS]), [0, 0, 399]),
        (np.column_stack([FLAT, FLAT.sum(1)]), [19, 24, 43]),
        (np.column_stack([FLAT[:, 0], 7 + 0 * FLAT[:, 0], FLAT[:, 1]]), [19, 0, 24]),
    ],
    ids=["line", "line in space", "line along an axis", "oblique plane", "plane"],
)
def test_many_points_in_a_line_or_a_plane(points, ends):
    assert len(points) > distance.FEW
    matrix = SHEARED[: points.shape[1], : points.shape[1]]
    expected = brute(points, np.zeros(len(points)), matrix)
    assert largest_distance(points, np.zeros(len(points), int), matrix) == pytest.approx(expected)
    assert largest_distance(points, np.zeros(len(points), int), np.eye(len(ends))) == pytest.approx(
        np.linalg.norm(ends), rel=1e-9
    )


def test_a_body_in_skewed_steps_is_measured_by_its_corners():
    ball = np.argwhere(sum((axis - 10) ** 2 for axis in np.indices((21, 21, 21))) <= 100)
    assert largest_distance(ball, np.zeros(len(ball), int), np.eye(3)) == 20
    assert largest_distance(ball, np.zeros(len(ball), int), SHEARED) == pytest.approx(
        brute(ball, np.zeros(len(ball)), SHEARED)
    )
