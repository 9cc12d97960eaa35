import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from segkit.errors import UsageError
from segkit.prediction.tiles import gaussian_weights, tile_origins, tiled

sides = st.integers(1, 40)
tiles = st.none() | st.integers(1, 24)
overlaps = st.floats(0, 0.8)
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
    weights = gaussian_weights(16, 8)
    assert weights.shape == (16, 8)
    assert weights.dtype == torch.float32
    # sigma is 2 rows and 1 column; the first pixel is 7.5 rows and 3.5 columns from the centre
    assert weights[0, 0].item() == pytest.approx(math.exp(-0.5 * (3.75**2 + 3.5**2)), rel=1e-5)
    assert weights[7, 3].item() == pytest.approx(math.exp(-0.5 * (0.25**2 + 0.5**2)), rel=1e-5)
    assert torch.equal(weights, weights.flip(0, 1))


@pytest.mark.parametrize("size", [(1, 1), (1, 512), (2, 3), (512, 512), (1024, 7)])
def test_no_weight_is_zero(size):
    assert gaussian_weights(*size).min() > 1e-7


def test_weights_made_in_inference_mode_are_usable_outside():
    gaussian_weights.cache_clear()
    with torch.inference_mode():
        gaussian_weights(5, 5)
    assert not gaussian_weights(5, 5).is_inference()


@given(sides, sides, tiles, overlaps, st.integers(1, 5), st.sampled_from([None, "flip"]), st.floats(0, 1, width=32))
@quick
def test_a_constant_stays_exactly_that_constant(height, width, tile, overlap, batch, tta, value):
    def constant(x):
        return torch.full((x.shape[0], 2, *x.shape[-2:]), value)

    found = tiled(constant, torch.rand(1, 3, height, width), tile=tile, overlap=overlap, batch=batch, tta=tta)
    assert found.shape == (1, 2, height, width)
    assert (found == value).all()


@given(sides, sides, tiles, overlaps, st.integers(1, 5), st.sampled_from([None, "flip"]))
@quick
def test_a_model_that_sees_its_own_pixel_alone_gives_the_same_as_without_tiles(
    height, width, tile, overlap, batch, tta
):
    image = torch.rand(2, 3, height, width)
    found = tiled(torch.sigmoid, image, tile=tile, overlap=overlap, batch=batch, tta=tta)
    torch.testing.assert_close(found, image.sigmoid(), rtol=0, atol=1e-6)


def position(x):
    """Each pixel's column within its tile, a map that seams would show in."""
    return torch.arange(x.shape[-1], dtype=torch.float32).expand(x.shape[0], 1, *x.shape[-2:])


def test_two_tiles_blend_by_their_weights():
    found = tiled(position, torch.zeros(1, 1, 4, 6), tile=4, overlap=0.5)  # tiles at columns 0 and 2
    bell = [math.exp(-0.5 * ((i - 1.5) / 0.5) ** 2) for i in range(4)]
    blended = [(bell[2] * 2 + bell[0] * 0) / (bell[2] + bell[0]), (bell[3] * 3 + bell[1] * 1) / (bell[3] + bell[1])]
    assert found[0, 0, 0].tolist() == pytest.approx([0, 1, *blended, 2, 3], abs=1e-6)


@given(sides, sides, st.integers(1, 16), overlaps)
@quick
def test_the_blend_is_the_weighted_sum_over_the_sum_of_weights(height, width, tile, overlap):
    rows, columns = min(tile, height), min(tile, width)
    image = torch.rand(1, 2, height, width, dtype=torch.float64)

    def neighbourly(x):
        return x.cumsum(-1) + x.cumsum(-2)

    weights = gaussian_weights(rows, columns).double()
    total, weight = torch.zeros(1, 2, height, width, dtype=torch.float64), torch.zeros(height, width).double()
    for top in tile_origins(height, rows, overlap):
        for left in tile_origins(width, columns, overlap):
            window = (..., slice(top, top + rows), slice(left, left + columns))
            total[window] += neighbourly(image[window]) * weights
            weight[window] += weights
    found = tiled(neighbourly, image, tile=tile, overlap=overlap)
    torch.testing.assert_close(found, (total / weight).float(), rtol=1e-5, atol=1e-5)


def test_flips_average_four_views_and_a_mirror_two():
    found = tiled(position, torch.zeros(1, 1, 2, 4), tile=None, tta="flip")
    assert found.flatten().tolist() == [1.5] * 8  # a column and its mirror image

    corner = torch.zeros(1, 1, 2, 2)
    corner[..., 0, 0] = 1  # it marks the first pixel of what it sees, whatever that is
    found = tiled(lambda x: corner.expand(x.shape), torch.rand(1, 1, 2, 2), tile=None, tta="flip")
    assert found.flatten().tolist() == pytest.approx([0.25] * 4)
    found = tiled(lambda x: corner.expand(x.shape), torch.rand(1, 1, 2, 2), tile=None, tta="mirror")
    assert found.flatten().tolist() == pytest.approx([0.5, 0.5, 0, 0])


def test_each_tile_is_seen_once_in_full_batches():
    seen = []

    def remember(x):
        seen.append(tuple(x.shape))
        return x

    tiled(remember, torch.rand(1, 3, 12, 16), tile=8, overlap=0.5, batch=4)  # 2 rows of 3 tiles
    assert seen == [(4, 3, 8, 8), (2, 3, 8, 8)]


def test_an_image_no_larger_than_the_tile_is_seen_whole_at_its_own_size():
    seen = []

    def remember(x):
        seen.append(x)
        return x * 0.1

    image = torch.rand(1, 3, 5, 7)
    assert torch.equal(tiled(remember, image, tile=8), image * 0.1)
    assert len(seen) == 1
    assert torch.equal(seen[0], image)


def test_half_precision_is_blended_in_float32():
    found = tiled(lambda x: x.bfloat16(), torch.full((1, 1, 9, 9), 0.5), tile=4)
    assert found.dtype == torch.float32


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tile": 0}, "tile=0: expected the side"),
        ({"tile": 4, "overlap": 1.0}, "overlap=1.0: expected a share"),
        ({"tile": 4, "batch": 0}, "batch=0: expected 1 or more"),
        ({"tile": 4, "tta": "rotate"}, "tta='rotate': expected None, 'mirror' or 'flip'"),
    ],
)
def test_options_outside_their_range_are_refused(options, message):
    with pytest.raises(UsageError, match=message):
        tiled(lambda x: x, torch.rand(1, 1, 8, 8), **options)


def test_maps_of_another_size_than_the_tile_are_refused():
    with pytest.raises(ValueError, match=r"got maps \[1, 1, 2, 2\] for 1 tiles of 4×4 pixels"):
        tiled(lambda x: x[..., :2, :2], torch.rand(1, 1, 4, 4), tile=None)
