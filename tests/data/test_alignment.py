import numpy as np
import pytest

from segkit.data.alignment import MOST, Alignment, aligned
from segkit.data.camera import Intrinsics
from segkit.errors import UsageError

HERE = ((1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0))
CAMERA = Intrinsics(fx=100, fy=100, cx=15.5, cy=11.5)


def moved_by(x=0.0, y=0.0, z=0.0, *, depth=CAMERA, colour=CAMERA):
    motion = tuple((*row[:3], shift) for row, shift in zip(HERE, (x, y, z), strict=True))
    return Alignment(depth_camera=depth, colour_camera=colour, motion=motion)


def plane(z, size=(24, 32)):
    return np.stack([np.full(size, z), np.ones(size)], axis=2).astype(np.float32)


def test_the_same_camera_in_the_same_place_changes_nothing():
    rng = np.random.default_rng(0)
    depth = plane(1.0)
    depth[..., 0] = rng.uniform(0.3, 9, (24, 32))
    depth[rng.random((24, 32)) < 0.3] = 0
    assert np.array_equal(aligned(depth, moved_by(), (24, 32)), depth)


@pytest.mark.parametrize(("baseline", "z", "pixels"), [(0.05, 1.0, 5), (0.05, 0.5, 10), (-0.06, 2.0, -3)])
def test_a_camera_beside_the_other_sees_things_moved_by_focal_length_times_baseline_by_distance(baseline, z, pixels):
    found = aligned(plane(z), moved_by(x=baseline), (24, 32))
    expected = np.zeros_like(found)
    columns = np.arange(32)[max(0, pixels) : 32 + min(0, pixels)]
    expected[:, columns] = [z, 1]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    down = aligned(plane(z), moved_by(y=baseline), (24, 32))
    rows = np.arange(24)[max(0, pixels) : 24 + min(0, pixels)]
    assert np.array_equal(np.flatnonzero(down[..., 1].all(axis=1)), rows)


def test_the_nearer_of_two_counts_and_what_it_uncovers_is_a_hole():
    depth = plane(2.0)
    depth[8:16, 10:14, 0] = 1.0
    found = aligned(depth, moved_by(x=0.1), (24, 32))  # far: 5 pixels, near: 10
    row = found[12]
    assert row[20:24, 0].tolist() == [1] * 4
    assert row[15:19, 1].tolist() == [0] * 4  # where the near thing stood in front of the far plane
    assert row[5:15, 0].tolist() == [2] * 10
    assert row[24:, 0].tolist() == [2] * 8
    assert row[:5, 1].tolist() == [0] * 5


def test_a_step_forward_brings_things_nearer_and_what_is_behind_is_not_seen():
    found = aligned(plane(2.0), moved_by(z=-0.5), (24, 32))
    assert found[..., 1].all()
    np.testing.assert_allclose(found[..., 0], 1.5, rtol=1e-6)
    assert not aligned(plane(2.0), moved_by(z=-2.5), (24, 32)).any()


@pytest.mark.parametrize("ratio", [0.5, 1.5, 2, 3.2])
@pytest.mark.parametrize("shift", [0.0, 0.005, 0.0333])
def test_a_plane_stays_whole_in_a_picture_of_any_size(ratio, shift):
    size = (round(24 * ratio), round(32 * ratio))
    middle = {"cx": (size[1] - 1) / 2, "cy": (size[0] - 1) / 2}
    colour = Intrinsics(fx=100 * ratio, fy=100 * ratio, **middle)
    found = aligned(plane(1.0), moved_by(x=shift, colour=colour), size)
    first = int(np.ceil(shift * 100 * ratio + 1e-9))
    assert found[:, first:, 1].all()
    np.testing.assert_allclose(found[found[..., 1] > 0][:, 0], 1, rtol=1e-6)


def test_a_measurement_covers_so_many_pixels_at_most():
    depth = np.zeros((1, 1, 2), np.float32)
    depth[0, 0] = [1, 1]
    one = Intrinsics(fx=1, fy=1, cx=0, cy=0)
    large = Intrinsics(fx=1000, fy=1000, cx=49.5, cy=49.5)
    found = aligned(depth, moved_by(depth=one, colour=large), (100, 100))
    assert found[..., 1].sum() == MOST**2


def test_a_quarter_turn_about_the_vertical_axis_puts_what_was_ahead_to_the_side():
    # The colour camera looks along the depth camera's X: what lies ahead and to the right of one lies so of the other.
    turned = Alignment(
        depth_camera=CAMERA, colour_camera=CAMERA, motion=((0, 0, -1, 2), (0, 1, 0, 0), (1, 0, 0, 2), (0, 0, 0, 1))
    )
    depth = np.zeros((24, 32, 2), np.float32)
    depth[12, 20] = [2, 1]  # x = 4.5 / 100 · 2 = 0.09, y = 0.01, z = 2 → x' = 0, y' = 0.01, z' = 2.09
    found = aligned(depth, turned, (24, 32))
    assert np.argwhere(found[..., 1]).tolist() == [[12, 15]]  # 15.5 is on the edge of two
    np.testing.assert_allclose(found[..., 0].max(), 2.09, rtol=1e-6)


BAD = [
    ({"motion": HERE[:2]}, "at least 3"),
    ({"motion": ((2, 0, 0, 0), *HERE[1:])}, "expected a rotation in the first three columns"),
    ({"motion": ((-1, 0, 0, 0), *HERE[1:])}, "no mirror"),
    ({"motion": ((1, 0, 0, 25.0), *HERE[1:])}, "the cameras would be 25 m apart; the last column is in metres"),
    ({"motion": (*HERE, (0, 0, 1, 0))}, r"the last of four rows to be \[0, 0, 0, 1\]"),
    ({"motion": ((1, 0, 0, float("nan")), *HERE[1:])}, "a finite number"),
    ({"depth_camera": {"fx": 0, "fy": 1, "cx": 0, "cy": 0}}, "greater than 0"),
]


@pytest.mark.parametrize(("wrong", "message"), BAD)
def test_cameras_that_cannot_be_are_refused(wrong, message):
    right = {"depth_camera": CAMERA, "colour_camera": CAMERA, "motion": HERE}
    with pytest.raises(UsageError, match=message):
        Alignment(**{**right, **wrong})
