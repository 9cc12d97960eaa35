import numpy as np
import pytest
from medical.grids import random_grids

from segkit.data.geometry import Geometry
from segkit.data.slices import PLANES

# Of each plane: where slices, rows and columns lead to. In RAS+, x grows to the right, y to the front, z to the top.
LEFT, BACK, UP, DOWN = (-1, 0, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1)
HANGING = {"axial": (UP, BACK, LEFT), "coronal": (BACK, DOWN, LEFT), "sagittal": (LEFT, DOWN, BACK)}


def plain(*spacing, shape=(4, 5, 6)):
    return Geometry(shape, np.diag([*spacing, 1.0]))


@pytest.mark.parametrize("plane", PLANES)
def test_slices_hang_as_radiologists_hang_them_however_the_voxels_are_stored(plane):
    for shape, affine in random_grids(200):
        geometry = Geometry(shape, affine)
        indices = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
        points = geometry.points(indices.reshape(-1, 3).astype(float)).reshape(*shape, 3)
        turn = geometry.turn(plane)
        hung = turn.of(points)
        for axis, to in enumerate(HANGING[plane]):
            step = np.diff(hung, axis=axis).reshape(-1, 3).mean(axis=0)
            assert step @ to > 0
        assert np.shares_memory(hung, points)


def test_each_axis_of_an_oblique_volume_is_that_which_it_is_closest_to():
    angle = np.radians(30)
    tilted = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = tilted[:, [2, 0, 1]]  # I is upwards, J to the right and K to the front
    geometry = Geometry((2, 3, 4), affine)
    assert geometry.orientation == "SRA"
    assert geometry.turn("axial").of(np.zeros((2, 3, 4))).shape == (2, 4, 3)
    assert geometry.turn("coronal").of(np.zeros((2, 3, 4, 7))).shape == (4, 2, 3, 7)
    assert geometry.turn("sagittal").of(np.zeros((2, 3, 4))).shape == (3, 2, 4)


def test_the_patients_right_is_on_the_left_of_the_picture():
    values = np.zeros((4, 5, 6))
    values[3, 4, 5] = 1  # the most right, front and top, in RAS
    assert np.argwhere(plain(1, 1, 1).turn("axial").of(values)).tolist() == [[5, 0, 0]]
    assert np.argwhere(plain(-1, -1, 1).turn("axial").of(values)).tolist() == [[5, 4, 3]]
    assert np.argwhere(plain(1, 1, 1).turn("coronal").of(values)).tolist() == [[0, 0, 0]]
    assert np.argwhere(plain(1, 1, 1).turn("sagittal").of(values)).tolist() == [[0, 0, 0]]


def test_spacing_orientation_and_points():
    affine = np.array([[0, 0, 2.0, 10], [-3, 0, 0, 20], [0, 0.5, 0, 30], [0, 0, 0, 1]])
    geometry = Geometry((4, 5, 6), affine)
    assert geometry.spacing == (3, 0.5, 2)
    assert geometry.orientation == "PSR"
    assert geometry.points(np.array([[0, 0, 0], [1, 2, 3]])).tolist() == [[10, 20, 30], [16, 17, 31]]


def test_spacings_are_those_of_the_affine_whichever_way_it_is_turned():
    for shape, affine in random_grids(50, seed=1):
        geometry = Geometry(shape, affine)
        steps = geometry.points(np.eye(3)) - geometry.points(np.zeros((3, 3)))
        assert geometry.spacing == pytest.approx(np.linalg.norm(steps, axis=1))


def test_what_sets_two_grids_apart():
    here = plain(1, 1, 2)
    assert here.difference(here) is None
    moved = here.affine.copy()
    moved[:3, 3] = 0.06, 0.06, 0  # 0.085 mm, less than a tenth of the smallest spacing
    assert here.difference(Geometry(here.shape, moved)) is None
    moved[:3, 3] = 0, 0.2, 0
    assert here.difference(Geometry(here.shape, moved)) == "places up to 0.2 mm apart"
    assert here.difference(plain(1, 1, 2, shape=(4, 5, 7))) == "shapes 4×5×6 and 4×5×7 voxels"
    assert here.difference(plain(-1, 1, 2)) == "orientations RAS and LAS"
    assert here.difference(plain(1, 1, 2.5)) == "spacings 1 × 1 × 2 and 1 × 1 × 2.5 mm"
    flipped = np.diag([-1.0, 1, 2, 1])
    flipped[0, 3] = 3  # covers the same space, from the other side
    assert here.difference(Geometry(here.shape, flipped)) == "orientations RAS and LAS"


def test_grids_that_are_none_are_refused():
    with pytest.raises(ValueError, match="4 × 4 finite numbers"):
        Geometry((1, 1, 1), np.eye(3))
    with pytest.raises(ValueError, match="4 × 4 finite numbers"):
        plain(1, np.nan, 1)
    with pytest.raises(ValueError, match="two of its axes point the same way, or a spacing is zero"):
        plain(1, 0, 1)
    sheared = np.diag([1.0, 1, 1, 1])
    sheared[:3, 1] = 1, 0, 0
    with pytest.raises(ValueError, match="two of its axes point the same way"):
        Geometry((1, 1, 1), sheared)


def test_voxels_may_be_as_small_as_an_electron_microscopes():
    nanometres = plain(4e-6, 4e-6, 3e-5)
    assert nanometres.spacing == pytest.approx((4e-6, 4e-6, 3e-5))
    assert nanometres.orientation == "RAS"
    assert nanometres.turn("axial").axes == (2, 1, 0)
