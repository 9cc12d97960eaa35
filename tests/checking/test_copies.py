"""Looks are the same for copies and differ for pictures that only resemble each other."""

import cv2
import numpy as np
import pytest

from segkit.checking.copies import look, near_copies

RNG = np.random.default_rng(0)


def picture(seed, size=80):
    blobs = np.random.default_rng(seed).normal(size=(9, 9)).astype(np.float32)
    return cv2.resize(blobs, (size, size), interpolation=cv2.INTER_CUBIC) * 40 + 120


def pairs(pictures, groups):
    return {(copy.first, copy.second) for copy in near_copies(np.stack([look(p) for p in pictures]), groups)}


def test_brightness_and_contrast_change_nothing():
    assert np.allclose(look(picture(0)), look(0.5 * picture(0) + 60), atol=1e-4)


def test_a_flat_picture_has_no_look_and_is_like_nothing():
    flat = np.full((40, 40), 3, np.float32)
    assert not look(flat).any()
    assert pairs([flat, flat], [0, 1]) == set()


def test_copies_in_all_eight_orientations_are_found_among_others():
    others = [picture(seed) for seed in range(1, 9)]
    turned = [np.rot90(p, k) for p in (picture(0), picture(0)[:, ::-1]) for k in range(4)]
    found = pairs([*others, picture(0), *map(np.ascontiguousarray, turned)], [0] * 9 + [1] * 8)
    assert found == {(8, 9 + number) for number in range(8)}


def test_pairs_within_a_group_are_not_looked_for():
    assert pairs([picture(0), picture(0), picture(1)], [0, 0, 1]) == set()


@pytest.mark.parametrize("count", [6, 40])
def test_what_all_pictures_have_in_common_makes_no_copies(count):
    yy, xx = np.mgrid[:80, :80] - 40
    field = 150 * (yy**2 + xx**2 < 35**2).astype(np.float32)  # as of a fundus camera
    pictures = [field + 0.06 * picture(seed) * (field > 0) for seed in range(count)]
    looks = np.stack([look(p) for p in pictures]).reshape(count, -1)
    assert np.corrcoef(looks)[0, 1:].min() > 0.93  # all of them look alike
    groups = [number % 2 for number in range(count)]
    assert pairs(pictures, groups) == set()
    assert pairs([*pictures, 1.1 * pictures[0]], [*groups, 1]) == {(0, count)}


def test_two_pictures_alone_are_compared_as_they_are():
    assert pairs([picture(0), picture(0) * 2], [0, 1]) == {(0, 1)}
    assert pairs([picture(0), picture(1)], [0, 1]) == set()


@pytest.mark.parametrize("name", ["drive", "em_isbi2012", "dsb2018_nuclei", "rgbd_pothole"])
def test_real_pictures_in_different_splits_are_no_copies(shared, found, name):
    told = found(shared / name, notes=True)
    assert set(told) <= {"grey_and_colour", "again"}  # nor is anything else wrong with these datasets
