import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from segkit.errors import UsageError
from segkit.prediction.tiles import bell, check_tiling, shares, tile_origins

quick = settings(max_examples=60, deadline=None)


@pytest.mark.parametrize(
    ("length", "tile", "overlap", "origins"),
    [
        (8, 8, 0.5, [0]),
        (3, 8, 0.5, [0]),
        (16, 8, 0.0, [0, 8]),
        (17, 8, 0.0, [0, 4, 9]),
        (16, 8, 0.5, [0, 4, 8]),
        (2048, 512, 0.5, [0, 256, 512, 768, 1024, 1280, 1536]),
        (5, 1, 0.9, [0, 1, 2, 3, 4]),
    ],
)
def test_origins_are_evenly_spread(length, tile, overlap, origins):
    assert tile_origins(length, tile, overlap) == origins


@given(st.integers(1, 300), st.integers(1, 64), st.floats(0, 0.99))
@quick
def test_tiles_cover_everything_stay_inside_and_overlap_enough(length, tile, overlap):
    origins = tile_origins(length, tile, overlap)
    assert origins[0] == 0
    assert origins[-1] == max(0, length - tile)
    steps = [b - a for a, b in pairwise(origins)]
    assert all(1 <= step <= max(1, round(tile * (1 - overlap))) for step in steps)
    assert not steps or max(steps) - min(steps) <= 1


def test_weights_are_a_gaussian_about_the_centre():
    weights = bell(16)
    assert weights.dtype == torch.float32
    # sigma is 2 pixels; the first is 7.5 from the centre
    assert weights[0].item() == pytest.approx(math.exp(-0.5 * 3.75**2), rel=1e-5)
    assert weights[7].item() == pytest.approx(math.exp(-0.5 * 0.25**2), rel=1e-5)
    assert torch.equal(weights, weights.flip(0))


@pytest.mark.parametrize("length", [1, 2, 3, 7, 512, 4096])
def test_no_weight_is_zero(length):
    assert bell(length).min() > 3e-4


def test_weights_made_in_inference_mode_are_usable_outside():
    bell.cache_clear()
    with torch.inference_mode():
        bell(5)
    assert not bell(5).is_inference()


def test_a_share_is_the_weight_over_the_sum_of_those_up_to_it():
    first, second = shares([0, 2], 4)
    assert first.tolist() == [1, 1, 1, 1]
    far, near = math.exp(-0.5 * 3**2), math.exp(-0.5)  # 1.5 and 0.5 pixels from the centre, sigma 0.5
    expected = [far / (far + near), near / (near + far), 1, 1]
    assert second.tolist() == pytest.approx(expected, rel=1e-5)
    assert second[2:].tolist() == [1, 1]


@pytest.mark.parametrize(
    ("tile", "overlap", "message"),
    [
        (0, 0.5, "tile=0: expected the side"),
        (4.0, 0.5, "tile=4.0: expected the side"),
        (True, 0.5, "tile=True: expected the side"),
        (4, 1.0, "overlap=1.0: expected a share"),
        (4, -0.1, "overlap=-0.1: expected a share"),
    ],
)
def test_options_outside_their_range_are_refused(tile, overlap, message):
    with pytest.raises(UsageError, match=message):
        check_tiling(tile, overlap)
