"""Pixels of COCO's outlines: worked out by hand, by matplotlib, and as pycocotools writes them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.path import Path as Outline

from segkit.importing.coco_shapes import fill, from_runs, patch_of, unpacked


def test_a_pixel_belongs_to_what_its_centre_lies_in():
    inside = fill([[0.6, 1.4, 3.6, 1.4, 3.6, 2.6, 0.6, 2.6]], (4, 5))  # centres 1.5 … 3.5 across, 1.5 and 2.5 down
    assert inside.astype(int).tolist() == [[0, 0, 0, 0, 0], [0, 1, 1, 1, 0], [0, 1, 1, 1, 0], [0, 0, 0, 0, 0]]


def test_neighbours_share_an_edge_and_no_pixel():
    left, right = ([[a, 0, b, 0, b, 4, a, 4]] for a, b in ((0, 2.5), (2.5, 5)))
    first, second = fill(left, (4, 5)), fill(right, (4, 5))
    assert (first ^ second).all()
    assert not (first & second).any()


def test_a_triangle():
    inside = fill([[0, 0, 4, 0, 0, 4]], (4, 4))
    assert inside.sum() == 6  # x + y < 3 of the centres; those on the edge itself are none of it
    assert inside.astype(int).tolist() == [[1, 1, 1, 0], [1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]


def test_several_polygons_are_one_object_and_lines_that_cross_cut_holes():
    two = fill([[0, 0, 2, 0, 2, 2, 0, 2], [1, 1, 4, 1, 4, 4, 1, 4]], (4, 4))
    assert two.sum() == 4 + 9 - 1
    around_a_hole = [0, 0, 6, 0, 6, 6, 0, 6, 0, 0, 2, 2, 2, 4, 4, 4, 4, 2, 2, 2, 0, 0]
    assert fill([around_a_hole], (6, 6)).sum() == 36 - 4


def test_what_lies_outside_the_picture_is_cut_off():
    assert fill([[-1e9, -1e9, 1e9, -1e9, 1e9, 1e9, -1e9, 1e9]], (3, 4)).all()
    assert not fill([[10, 0, 20, 0, 20, 9]], (3, 4)).any()
    assert fill([[2, -5, 9, -5, 9, 2, 2, 2]], (3, 4)).astype(int).tolist() == [[0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 0, 0]]


def test_fewer_than_three_corners_enclose_nothing():
    assert not fill([[0, 0, 4, 4], []], (4, 4)).any()


def test_an_odd_number_of_coordinates_is_refused():
    with pytest.raises(ValueError, match="a polygon has 7 coordinates; expected pairs of x and y"):
        fill([[0, 0, 4, 0, 4, 4, 0]], (4, 4))


@given(st.integers(0, 10_000))
def test_as_matplotlib_has_it(seed):
    rng = np.random.default_rng(seed)
    height, width = rng.integers(1, 40, 2)
    count = rng.integers(3, 30)
    angle, radius = np.sort(rng.random(count)) * 2 * np.pi, rng.uniform(0.2, 1.3, count)
    corners = np.stack([width / 2 * (1 + radius * np.cos(angle)), height / 2 * (1 + radius * np.sin(angle))], axis=1)
    rows, columns = np.mgrid[:height, :width] + 0.5
    centres = np.stack([columns.ravel(), rows.ravel()], axis=1)
    expected = Outline(np.vstack([corners, corners[:1]])).contains_points(centres).reshape(height, width)
    inside = fill([corners.ravel().tolist()], (int(height), int(width)))
    turning = np.diff(np.append(angle, angle[0] + 2 * np.pi)).max() < np.pi  # else lines could cross
    assert not turning or (inside == expected).all()


ROWS, COLUMNS = np.mgrid[:20, :25]
AWAY = (ROWS - 9) ** 2 + (COLUMNS - 12) ** 2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("c47<2N2O000000000001N2NV4", (ROWS - 10) ** 2 + (COLUMNS - 12) ** 2 < 36),
        ("0776000I016000I016000I016000I016000I016000I016000I016000I01O", (COLUMNS // 3 + ROWS // 7) % 2 == 0),
        ("e29:2N2N2NG10NO40LO60J060J060J060J060J140L120O92N2N2N\\2", (AWAY < 81) & (AWAY > 20)),
    ],
    ids=["disc", "chequers", "ring"],
)
def test_compressed_run_lengths_as_pycocotools_writes_them(text, expected):
    assert (from_runs(unpacked(text), (20, 25)) == expected).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("c4~", "compressed run lengths hold '~'"),
        ("c4\n", r"compressed run lengths hold '\\n'"),
        ("c", "compressed run lengths are cut short"),
        ("o" * 13, "compressed run lengths hold a number that no picture has pixels for"),
    ],
)
def test_damaged_run_lengths_are_refused(text, message):
    with pytest.raises(ValueError, match=message):
        unpacked(text)


@pytest.mark.parametrize(("runs", "found"), [([3, 100], 103), ([3, 2], 5), ([], 0), ([-4, 16], 12), ([20, -8], 12)])
def test_run_lengths_cover_the_picture_exactly(runs, found):
    with pytest.raises(ValueError, match=f"run lengths of {found} pixels; the picture has 12"):
        from_runs(runs, (3, 4))


def test_a_patch_is_an_object_and_no_more():
    inside = np.zeros((5, 6), dtype=bool)
    inside[1, 4] = inside[3, 2] = True
    patch = patch_of(inside)
    assert (patch.top, patch.left, patch.inside.shape, patch.area) == (1, 2, (3, 3), 2)
    picture = np.zeros((5, 6))
    patch.of(picture)[patch.inside] = 1
    assert (picture == inside).all()
    assert patch_of(np.zeros((5, 6), dtype=bool)).area == 0
