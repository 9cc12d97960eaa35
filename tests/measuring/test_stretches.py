import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from segkit.measuring.stretches import stretches_in

MASKS = hnp.array_shapes(min_dims=2, max_dims=3, min_side=1, max_side=7).flatmap(
    lambda shape: hnp.arrays(np.uint8, shape, elements=st.integers(0, 2))
)


def stretches_of(mask, label=1):
    ids, every = stretches_in(mask, 0, mask.shape)
    return every.of(ids == label)


def pixels_of(stretches, values):
    """An array with each stretch's value in its pixels."""
    lines = np.zeros((np.prod(stretches.shape[:-1]), stretches.shape[-1]), int)
    for line, first, last, value in zip(stretches.line, stretches.first, stretches.last, values, strict=True):
        lines[line, first : last + 1] = value
    return lines.reshape(stretches.shape)


def test_a_row_of_labels_is_its_stretches():
    ids, found = stretches_in(np.array([[0, 1, 1, 2], [2, 2, 0, 0]], np.uint8), 0, (2, 4))
    assert ids.tolist() == [0, 1, 2, 2, 0]
    assert found.line.tolist() == [0, 0, 0, 1, 1]
    assert found.first.tolist() == [0, 1, 3, 0, 2]
    assert found.last.tolist() == [0, 2, 3, 1, 3]
    assert found.sizes.tolist() == [1, 2, 1, 2, 2]
    assert found.of(ids == 2).ends().tolist() == [[[0, 3], [1, 0]], [[0, 3], [1, 1]]]


def test_a_part_of_an_array_has_the_places_of_the_whole():
    volume = np.random.default_rng(0).integers(0, 3, (6, 4, 5)).astype(np.uint8)
    whole = stretches_in(volume, 0, volume.shape)[1]
    parts = [stretches_in(volume[top : top + 2], top, volume.shape)[1] for top in (0, 2, 4)]
    for key in ("line", "first", "last"):
        assert np.concatenate([getattr(part, key) for part in parts]).tolist() == getattr(whole, key).tolist()


@settings(deadline=None, max_examples=150)
@given(MASKS)
def test_stretches_have_all_pixels_and_components_are_those_of_scipy(mask):
    found = stretches_of(mask)
    assert np.array_equal(pixels_of(found, np.ones(len(found))), mask == 1)
    count, which = found.components()
    expected, expected_count = ndimage.label(mask == 1, np.ones((3,) * mask.ndim))
    assert count == expected_count
    ours = pixels_of(found, which + 1)
    pairs = set(zip(ours[mask == 1].tolist(), expected[mask == 1].tolist(), strict=True))
    assert len(pairs) == count  # one number of ours for each of scipy's


@pytest.mark.parametrize("shape", [(200, 300), (20, 30, 25)])
@pytest.mark.parametrize("density", [0.05, 0.2, 0.5, 0.9])
def test_components_of_larger_masks_too(shape, density):
    mask = (np.random.default_rng(1).random(shape) < density).astype(np.uint8)
    count, which = stretches_of(mask).components()
    expected, expected_count = ndimage.label(mask, np.ones((3,) * mask.ndim))
    assert count == expected_count
    sizes = np.bincount(which, weights=stretches_of(mask).sizes)
    assert sorted(sizes) == sorted(np.bincount(expected[mask == 1])[1:])
