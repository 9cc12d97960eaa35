"""Pictures at another resolution: by area where they shrink, linearly where they grow, in parts as in one piece."""

from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from medical.slide_files import area_mean

from segkit.data.picture import Picture
from segkit.errors import DataError
from segkit.medical import slide_resampling
from segkit.medical.slide_resampling import Resampled, brought_to, weights

RNG = np.random.default_rng(0)
COLOUR8 = RNG.integers(0, 256, (60, 84, 3), dtype=np.uint8)
FIVE16 = RNG.integers(0, 65536, (60, 84, 5), dtype=np.uint16)
FLOATS = RNG.random((60, 84, 1), dtype=np.float32)


def resampled(pixels, size):
    return Resampled(Picture(None, pixels), size).rows(0, size[0])


def exact_mean(pixels, size):
    """Each pixel cut into as many parts as make the sizes meet, then the mean over these."""
    height, width = pixels.shape[:2]
    parts = pixels.astype(np.float64).repeat(size[0], axis=0).repeat(size[1], axis=1)
    return parts.reshape(size[0], height, size[1], width, -1).mean((1, 3))


@pytest.mark.parametrize("pixels", [COLOUR8, FIVE16, FLOATS], ids=["8 bits", "five of 16 bits", "float"])
@pytest.mark.parametrize("times", [2, 3, 4])
def test_whole_steps_give_the_mean_of_squares(pixels, times):
    small = resampled(pixels, (60 // times, 84 // times))
    assert small.dtype == pixels.dtype
    height, width, channels = pixels.shape
    squares = pixels.reshape(height // times, times, width // times, times, channels).astype(np.float64).mean((1, 3))
    assert np.abs(small - squares).max() <= (0.5 + 1e-2 if pixels.dtype.kind == "u" else 1e-6)


def test_powers_of_two_are_rounded_as_exact_means_are():
    np.testing.assert_array_equal(resampled(COLOUR8, (30, 42)), area_mean(COLOUR8, 2))
    np.testing.assert_array_equal(resampled(COLOUR8, (15, 21)), area_mean(COLOUR8, 4))


@pytest.mark.parametrize("size", [(20, 31), (29, 41), (7, 11), (1, 1), (30, 20)])
def test_broken_steps_give_the_mean_over_what_a_pixel_covers(size):
    floats, bytes_ = FLOATS[:30, :42], COLOUR8[:30, :42]
    np.testing.assert_allclose(resampled(floats, size), exact_mean(floats, size), atol=2e-6)
    assert np.abs(resampled(bytes_, size) - exact_mean(bytes_, size)).max() <= 0.501


@pytest.mark.parametrize("size", [(120, 168), (61, 85), (200, 300)])
def test_enlarging_is_linear_between_centres(size):
    tensor = torch.from_numpy(FLOATS).permute(2, 0, 1)[None]
    expected = F.interpolate(tensor, size, mode="bilinear", align_corners=False)[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(resampled(FLOATS, size), expected, atol=1e-5)


@given(
    before=st.integers(1, 70),
    after=st.integers(1, 70),
    cuts=st.lists(st.integers(0, 70), max_size=4),
)
@settings(max_examples=60, deadline=None)
def test_parts_are_parts_of_the_whole_and_a_constant_stays(before, after, cuts):
    pixels = np.random.default_rng(before).integers(0, 65536, (before, 5, 1), dtype=np.uint16)
    rows = Resampled(Picture(None, pixels), (after, 4))
    whole = rows.rows(0, after)
    edges = sorted({0, after, *(cut for cut in cuts if cut < after)})
    parts = [rows.rows(top, bottom) for top, bottom in pairwise(edges)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    flat = np.full((before, 5, 1), 65535, np.uint16)
    assert (resampled(flat, (after, 4)) == 65535).all()
    assert whole.min() >= pixels.min()
    assert whole.max() <= pixels.max()


@given(before=st.integers(1, 1000), after=st.integers(1, 1000))
@settings(deadline=None)
def test_weights_are_shares(before, after):
    first, found = weights(before, after, 0, after)
    assert first == 0
    assert found.min() >= 0
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-5)
    if before >= after:  # by area every pixel counts as much as every other
        np.testing.assert_allclose(found.sum(0), after / before, atol=1e-4)


def test_few_rows_of_the_original_are_held(monkeypatch):
    monkeypatch.setattr(slide_resampling, "AT_ONCE", 84 * 3 * 8)
    asked = []

    class Rows:
        height = 60

        def rows(self, top, bottom):
            asked.append(bottom - top)
            return COLOUR8[top:bottom]

    rows = Resampled(Picture(None, Rows()), (25, 35))
    np.testing.assert_array_equal(rows.rows(0, 25), resampled(COLOUR8, (25, 35)))
    assert max(asked) <= 8
    asked.clear()
    one = Resampled(Picture(None, Rows()), (1, 35)).rows(0, 1)  # the mean over all rows
    assert np.abs(one - exact_mean(COLOUR8, (1, 35))).max() <= 0.501
    assert max(asked) <= 8


def test_resolutions_within_five_percent_are_equal():
    for mpp in (0.4762, 0.5, 0.5263):
        picture = Picture(None, COLOUR8, mpp=(0.5, 0.5))
        assert brought_to(picture, mpp) is picture
    for mpp in (0.47, 0.53):
        assert brought_to(Picture(None, COLOUR8, mpp=(0.5, 0.5)), mpp).shape != COLOUR8.shape


def test_both_axes_come_to_the_resolution():
    found = brought_to(Picture(None, COLOUR8, mpp=(0.5, 0.25)), 1.0)
    assert found.shape == (30, 21, 3)
    assert found.mpp == (1.0, 1.0)
    assert found.notes == ()
    np.testing.assert_allclose(found.rows(0, 30), exact_mean(COLOUR8, (30, 21)), atol=0.501)


def test_the_true_resolution_is_that_of_whole_pixels():
    found = brought_to(Picture(None, COLOUR8, mpp=(0.3, 0.3)), 1.0)
    assert found.shape == (18, 25, 3)
    assert found.mpp == pytest.approx((1.0, 84 * 0.3 / 25))
    assert brought_to(Picture(None, COLOUR8, mpp=(0.001, 0.001)), 1.0).shape == (1, 1, 3)


def test_a_picture_of_unknown_resolution_stays_with_a_note():
    found = brought_to(brought_to(Picture(None, COLOUR8), 0.5), 0.5)
    assert found.mpp is None
    assert found.notes == ("no resolution in the file: taken as it is, for 0.5 microns per pixel",)
    np.testing.assert_array_equal(found.rows(0, 60), COLOUR8)


def test_enlarging_is_noted_and_has_an_end(tmp_path):
    found = brought_to(Picture(None, COLOUR8, mpp=(1.0, 1.0)), 0.5)
    assert found.shape == (120, 168, 3)
    assert found.notes == ("1 microns per pixel in the file: enlarged to the model's 0.5",)
    with pytest.raises(
        DataError, match=r"a\.tif: has 2\.1 microns per pixel; the model takes 0\.5, 4\.2 times as fine"
    ):
        brought_to(Picture(tmp_path / "a.tif", COLOUR8, mpp=(2.1, 2.1)), 0.5)
