import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from segkit.data.geometry import Geometry
from segkit.measuring import measures
from segkit.measuring.measures import measure

OBLIQUE = np.array([[0.6, -0.48, 0.9, -20.0], [0.8, 0.36, -1.2, 30.0], [0.1, 0.6, 2.0, 5.0], [0.0, 0.0, 0.0, 1.0]])


def of(mask, **how):
    """The measures of a binary mask, all of whose pixels have a probability of 3/4."""
    how = {"classes": ["background", "lesion"], "task": "binary", "background": 0, **how}
    return measure(mask, np.full((1, *mask.shape), 0.75, np.float32), **how)


def test_a_rectangle_in_a_picture():
    mask = np.zeros((20, 30), np.uint8)
    mask[5:9, 10:22] = 1
    (found,) = of(mask, spacing=(0.5, 0.25))
    assert (found.name, found.dimensions, found.count, found.share) == ("lesion", 2, 48, 48 / 600)
    assert found.unit_size == pytest.approx(0.125)
    assert (found.components, found.largest) == (1, 48)
    assert found.diameter == pytest.approx(math.hypot(3 * 0.5, 11 * 0.25))
    assert found.axial_diameter is None
    assert found.mean_probability == 0.75
    assert found.centroid == (15.5, 6.5)  # x, y


def test_without_a_spacing_a_picture_is_measured_in_its_pixels():
    mask = np.zeros((20, 30), np.uint8)
    mask[0, 0], mask[3, 4] = 1, 1
    mask[10:12, 10:12] = 1
    (found,) = of(mask)
    assert found.unit_size is None
    assert (found.components, found.largest) == (3, 4)
    assert found.diameter == pytest.approx(math.sqrt(2))  # of one component, not from one to the other


def test_a_diagonal_line_is_one_component_and_as_long_as_its_spacing_says():
    mask = np.zeros((10, 10, 10), np.uint8)
    mask[range(1, 8), range(1, 8), range(8, 1, -1)] = 1
    (found,) = of(mask, spacing=(1.0, 2.0, 3.0))
    assert (found.components, found.largest) == (1, 7)
    assert found.diameter == pytest.approx(6 * math.sqrt(1 + 4 + 9))
    assert found.unit_size == pytest.approx(6)
    assert found.centroid == (4, 4, 5)  # in voxels, where the place in the patient isn't known
    assert not found.located


def test_a_ball_has_its_volume_and_its_diameter():
    radius, spacing = 12.0, (0.8, 1.0, 2.5)
    grid = [(np.arange(math.ceil(30 / step)) * step - 15) ** 2 for step in spacing]
    mask = (grid[0][:, None, None] + grid[1][:, None] + grid[2] <= radius**2).astype(np.uint8)
    (found,) = of(mask, spacing=spacing)
    assert found.count * found.unit_size == pytest.approx(4 / 3 * math.pi * radius**3, rel=0.02)
    assert 2 * radius - 2.5 < found.diameter <= 2 * radius


def test_an_oblique_sheared_volume_is_measured_by_its_affine():
    mask = np.zeros((9, 10, 11), np.uint8)
    mask[2:5, 3:4, 1:10] = 1
    (found,) = of(mask, geometry=Geometry(mask.shape, OBLIQUE))
    steps = OBLIQUE[:3, :3]
    assert found.located
    assert found.unit_size == pytest.approx(abs(np.linalg.det(steps)))
    corners = [steps @ [2, 0, 8], steps @ [2, 0, -8]]
    assert found.diameter == pytest.approx(max(np.linalg.norm(corner) for corner in corners))
    assert found.centroid == pytest.approx(tuple((OBLIQUE @ [3, 3, 5, 1])[:3]))


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 0, 2), (2, 1, 0)])
@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, 1, -1)])
def test_the_axial_diameter_is_in_axial_slices_however_the_file_has_its_axes(order, signs):
    volume = np.zeros((20, 20, 20), np.uint8)  # to the right, to the front, to the top
    volume[5, 5:9, 2:18] = 1  # 3 steps within a slice, 15 up
    volume[5:7, 5, 2] = 1
    affine = np.diag([1.0, 2.0, 4.0, 1.0])
    expected = of(volume, geometry=Geometry(volume.shape, affine))[0]
    assert expected.axial_diameter == pytest.approx(math.hypot(1, 6))
    assert expected.diameter == pytest.approx(math.sqrt(1 + 6**2 + 60**2))
    back = tuple(slice(None, None, sign) for sign in signs)
    turned = affine.copy()
    for axis, sign in enumerate(signs):
        if sign < 0:
            turned[:3, 3] += 19 * affine[:3, axis]
            turned[:3, axis] *= -1
    turned = turned[:, [*order, 3]]
    found = of(volume[back].transpose(order), geometry=Geometry(volume.shape, turned))[0]
    assert found.axial_diameter == pytest.approx(expected.axial_diameter)
    assert found.diameter == pytest.approx(expected.diameter)
    assert found.centroid == pytest.approx(expected.centroid)


def test_voxels_whose_spacing_nobody_knows_have_no_diameter():
    (found,) = of(np.ones((3, 4, 5), np.uint8))
    assert (found.count, found.components, found.largest) == (60, 1, 60)
    assert found.diameter is None
    assert found.unit_size is None


def test_a_class_that_is_not_there():
    (found,) = of(np.zeros((4, 5), np.uint8), spacing=(1, 1))
    assert (found.count, found.share, found.components, found.largest) == (0, 0, 0, 0)
    assert (found.diameter, found.mean_probability, found.centroid, found.note) == (None, None, None, None)


def test_a_single_pixel_has_no_length():
    mask = np.zeros((4, 5), np.uint8)
    mask[2, 3] = 1
    (found,) = of(mask, spacing=(1, 1))
    assert (found.components, found.diameter, found.centroid) == (1, 0, (3, 2))


def test_each_class_has_its_own_probability_and_the_background_has_none():
    labels = np.array([[0, 1, 1], [2, 2, 0]], np.uint8)
    probabilities = np.random.default_rng(0).random((3, 2, 3)).astype(np.float32)
    first, second = measure(labels, probabilities, classes=["none", "a", "b"], task="multiclass", background=0)
    assert (first.name, second.name) == ("a", "b")
    assert first.mean_probability == pytest.approx(probabilities[1, 0, 1:].mean())
    assert second.mean_probability == pytest.approx(probabilities[2, 1, :2].mean())
    every = measure(labels, probabilities, classes=["x", "a", "b"], task="multiclass", background=None)
    assert [each.name for each in every] == ["x", "a", "b"]
    assert every[0].components == 2


def test_classes_that_may_overlap_are_measured_by_themselves():
    labels = np.zeros((2, 6, 7, 8), np.uint8)
    labels[0, 1:4], labels[1, 2:6, 0] = 1, 1
    probabilities = np.stack([np.full((6, 7, 8), 0.5), np.full((6, 7, 8), 0.25)]).astype(np.float32)
    how = {"classes": ["a", "b"], "task": "multilabel", "background": None, "spacing": (1, 1, 1)}
    first, second = measure(labels, probabilities, **how)
    assert (first.count, second.count) == (3 * 7 * 8, 4 * 8)
    assert (first.mean_probability, second.mean_probability) == (0.5, 0.25)
    assert second.diameter == pytest.approx(math.hypot(3, 7))


def test_parts_give_what_the_whole_gives(monkeypatch, tmp_path):
    rng = np.random.default_rng(3)
    labels = (ndimage.gaussian_filter(rng.standard_normal((40, 30, 20)), 2) > 0.05).astype(np.uint8)
    probabilities = rng.random((1, *labels.shape)).astype(np.float32)
    how = {"classes": ["b", "l"], "task": "binary", "background": 0, "geometry": Geometry(labels.shape, OBLIQUE)}
    (whole,) = measure(labels, probabilities, **how)
    monkeypatch.setattr(measures, "VALUES", 1000)
    np.save(tmp_path / "labels.npy", labels)
    np.save(tmp_path / "probabilities.npy", probabilities)
    maps = [np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in ("labels", "probabilities")]
    (parts,) = measure(*maps, **how)
    assert parts.mean_probability == pytest.approx(whole.mean_probability, rel=1e-12)
    assert parts.centroid == pytest.approx(whole.centroid, rel=1e-12)
    same = {"mean_probability": None, "centroid": None}
    assert replace(parts, **same) == replace(whole, **same)
    expected, count = ndimage.label(labels, np.ones((3, 3, 3)))
    assert (whole.components, whole.largest) == (count, np.bincount(expected.ravel())[1:].max())
    points = np.argwhere(labels) @ OBLIQUE[:3, :3].T
    assert whole.centroid == pytest.approx(points.mean(0) + OBLIQUE[:3, 3])


def test_noise_is_counted_but_not_taken_apart(monkeypatch):
    monkeypatch.setattr(measures, "MOST", 10)
    mask = np.indices((9, 9)).sum(0).astype(np.uint8) % 2
    (found,) = of(mask, spacing=(1, 1))
    assert found.count == 40
    assert found.centroid == (4, 4)
    assert (found.components, found.largest, found.diameter) == (None, None, None)
    assert found.note == "components and diameters not looked for: lesion is in too many small pieces"
