import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segkit.data.pixel_map import FIRST, follow, pixel_map, zoom_of


def affine(matrix, size=(64, 64), side=400):
    """A map of ``size`` through a matrix about the middle of a picture, rounded to pixels as transforms do."""
    here = np.stack(np.mgrid[: size[0], : size[1]], axis=2) - np.array(size) / 2
    there = np.rint(here @ np.asarray(matrix).T + side / 2)
    inside = ((there >= 0) & (there < side)).all(axis=2, keepdims=True)
    return as_map(np.where(inside, there + FIRST, 255))


def as_map(both):
    both = both.astype(np.float32)
    return {"rows": both[..., 0], "columns": both[..., 1]}


def as_one(pixels):
    return np.stack([pixels["rows"], pixels["columns"]], axis=2)


def test_a_window_knows_where_its_pixels_were_and_which_are_from_outside():
    pixels = pixel_map((-1, 2), (3, 4), (2, 5))
    both = as_one(pixels)
    assert (both[1:, :3] - FIRST).tolist() == [[[0, 2], [0, 3], [0, 4]], [[1, 2], [1, 3], [1, 4]]]
    assert (both.min(axis=2) < FIRST).tolist() == [[True] * 4, [False] * 3 + [True], [False] * 3 + [True]]
    depth = np.arange(20, dtype=np.float32).reshape(2, 5, 2) + 1
    found = follow(depth, pixels)
    assert np.array_equal(found[1:, :3], depth[:, 2:])
    assert not found[0].any()
    assert not found[:, 3].any()
    assert zoom_of(pixels) == 1


@settings(deadline=None)
@given(st.integers(0, 7), st.tuples(st.integers(-30, 60), st.integers(-30, 60)), st.integers(2, 50), st.integers(2, 50))
def test_crops_flips_and_quarter_turns_are_no_zoom_at_all(turn, corner, height, width):
    pixels = np.rot90(as_one(pixel_map(corner, (height, width), (60, 60))), turn % 4)
    assert zoom_of(as_map(pixels[:, ::-1] if turn >= 4 else pixels)) == 1


@settings(deadline=None, max_examples=50)
@given(st.floats(0.4, 2.5), st.floats(0.4, 2.5), st.floats(0, 2 * np.pi), st.floats(-0.3, 0.3), st.booleans())
def test_the_zoom_of_an_affine_map_is_measured_whatever_its_turn_and_shear(along, across, angle, shear, flip):
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = turn @ [[1, shear], [0, 1]] @ np.diag([along, -across if flip else across])
    wide = affine(matrix, (128, 128), 800)  # rounding to pixels alone moves the zoom of 64 × 64 by up to 1.2 %
    assert zoom_of(wide) == pytest.approx(1 / np.sqrt(along * across), rel=1e-2)


def test_large_maps_are_sampled():
    assert zoom_of(affine(np.eye(2) * 0.5, (600, 900), 1000)) == pytest.approx(2, rel=1e-3)


@pytest.mark.parametrize("zoom", [0.5, 0.8])
def test_a_border_that_is_reflected_and_shuffled_tiles_do_not_count_as_zoom(zoom):
    place = (np.arange(96) - 48) / zoom + 40
    place = np.rint(np.abs(np.where(place > 79, 158 - place, place)))  # of a picture of 80, reflected
    reflected = np.stack(np.meshgrid(place, place, indexing="ij"), axis=2).astype(np.float32) + FIRST
    assert zoom_of(as_map(reflected)) == pytest.approx(zoom, rel=0.03)
    tiles = (
        as_one(affine(np.eye(2) / zoom, (96, 96)))
        .reshape(3, 32, 3, 32, 2)
        .transpose(0, 2, 1, 3, 4)
        .reshape(9, 32, 32, 2)
    )
    shuffled = tiles[np.random.default_rng(0).permutation(9)].reshape(3, 3, 32, 32, 2).transpose(0, 2, 1, 3, 4)
    assert zoom_of(as_map(shuffled.reshape(96, 96, 2))) == pytest.approx(zoom, rel=0.03)


def test_too_little_to_measure_is_no_zoom():
    for seen in (0, 1, 2):
        pixels = np.full((8, 8, 2), 255, np.float32)
        pixels[0, :seen] = FIRST + 5
        assert zoom_of(as_map(pixels)) == 1
    line = np.full((8, 8, 2), 255, np.float32)
    line[3] = FIRST + np.stack([np.zeros(8), 2 * np.arange(8)], axis=1)
    assert zoom_of(as_map(line)) == 1
    assert zoom_of(as_map(np.full((8, 8, 2), FIRST + 3))) == 1  # one pixel, repeated
