import math
import threading

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from segkit.errors import UsageError
from segkit.model import Segmenter
from segkit.prediction.at_once import AtOnce
from segkit.prediction.bands import Strips, bands, tiled
from segkit.prediction.tiles import bell, tile_origins

sides = st.integers(1, 40)
tiles = st.none() | st.integers(1, 24)
overlaps = st.floats(0, 0.8)
turnings = st.sampled_from([None, "mirror", "flip", "d4"])
quick = settings(max_examples=60, deadline=None)


@given(
    sides,
    sides,
    tiles,
    overlaps,
    st.integers(1, 5),
    st.sampled_from([None, "mirror", "flip", "d4", "0.7", "d4,0.5,1.3"]),
    st.floats(0, 1, width=32),
)
@quick
def test_a_constant_stays_exactly_that_constant(height, width, tile, overlap, batch, tta, value):
    def constant(x):
        return torch.full((x.shape[0], 2, *x.shape[-2:]), value)

    found = tiled(constant, torch.rand(1, 3, height, width), tile=tile, overlap=overlap, batch=batch, tta=tta)
    assert found.shape == (1, 2, height, width)
    assert (found == value).all()


@given(sides, sides, tiles, overlaps, st.integers(1, 5), turnings)
@quick
def test_a_model_that_sees_its_own_pixel_alone_gives_the_same_as_without_tiles(
    height, width, tile, overlap, batch, tta
):
    image = torch.rand(2, 3, height, width)
    found = tiled(torch.sigmoid, image, tile=tile, overlap=overlap, batch=batch, tta=tta)
    torch.testing.assert_close(found, image.sigmoid(), rtol=0, atol=1e-6)


def neighbourly(x):
    return x.cumsum(-1) + 2 * x.cumsum(-2)


@given(sides, sides, tiles, overlaps, st.integers(1, 5), st.integers(2, 4), st.sampled_from([None, "d4", "flip,0.7"]))
@quick
def test_an_image_alone_gives_the_same_as_in_a_batch_of_others(height, width, tile, overlap, batch, count, tta):
    images = torch.rand(count, 1, height, width)
    together = tiled(neighbourly, images, tile=tile, overlap=overlap, batch=batch, tta=tta)
    for image, found in zip(images, together, strict=True):
        assert torch.equal(tiled(neighbourly, image[None], tile=tile, overlap=overlap, batch=1, tta=tta)[0], found)


@given(st.integers(1, 70), st.integers(1, 70), st.sampled_from([None, 24, 33]))
@settings(max_examples=10, deadline=None)
def test_a_real_model_takes_any_size_alone_and_among_others(height, width, tile):
    torch.manual_seed(0)
    model = Segmenter.create({"name": "stem", "width": 4}, neck={"name": "fpn", "width": 8}, classes=2).eval()
    images = torch.rand(2, 3, height, width)
    together = tiled(model.probabilities, images, tile=tile, batch=3)
    assert together.shape == (2, 1, height, width)
    alone = tiled(model.probabilities, images[1:], tile=tile, batch=1)
    torch.testing.assert_close(together[1:], alone, rtol=0, atol=1e-6)


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
    weights = torch.outer(bell(rows), bell(columns)).double()
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


def test_quarter_turns_of_tiles_that_are_not_square():
    # eight views of a tile of 2 rows and 4 columns: half of them see its columns as columns, half its rows
    found = tiled(position, torch.zeros(1, 1, 2, 4), tile=None, tta="d4")
    assert found.flatten().tolist() == pytest.approx([(1.5 + 0.5) / 2] * 8)
    image = torch.rand(1, 1, 5, 9)
    found, turned = (tiled(neighbourly, x, tile=6, tta="d4") for x in (image, image.rot90(1, (2, 3))))
    torch.testing.assert_close(turned, found.rot90(1, (2, 3)))


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


def test_rows_are_read_once_from_the_top_down_and_never_more_than_a_tile_high():
    image, read = torch.rand(1, 1, 50, 12), []

    def rows(top, bottom):
        read.append((top, bottom))
        return image[:, :, top:bottom]

    strips = Strips((50, 12), 1, rows)
    found = list(bands(torch.sigmoid, strips, tile=16, overlap=0.5, batches=AtOnce(4), tta=None))
    assert [(a, b) for a, b in read if b - a > 16] == []
    assert [a for a, _ in read[1:]] == [b for _, b in read[:-1]]
    assert (read[0][0], read[-1][1]) == (0, 50)
    torch.testing.assert_close(torch.cat(found, dim=2), image.sigmoid())


def test_what_reading_raises_comes_through_and_no_thread_stays():
    def rows(top, bottom):
        if top:
            raise OSError("gone")
        return torch.zeros(1, 1, bottom - top, 8)

    before = threading.active_count()
    with pytest.raises(OSError, match="gone"):
        list(bands(torch.sigmoid, Strips((32, 8), 1, rows), tile=8, overlap=0.5, batches=AtOnce(1), tta=None))
    opened = bands(torch.sigmoid, Strips((8, 8), 1, rows), tile=4, overlap=0.5, batches=AtOnce(1), tta=None)
    next(opened)
    opened.close()
    assert threading.active_count() == before


def test_out_of_memory_halves_the_batch_for_good():
    seen = []

    def small(x):
        seen.append(len(x))
        if len(x) > 2:
            raise torch.OutOfMemoryError("no room")
        return x

    batches, image = AtOnce(7), torch.rand(1, 1, 8, 48)  # eleven tiles
    strips = Strips((8, 48), 1, lambda top, bottom: image[:, :, top:bottom])
    found = list(bands(small, strips, tile=8, overlap=0.5, batches=batches, tta=None))
    torch.testing.assert_close(found[0], image)
    assert batches.size == 2
    assert seen == [7, 4, 2, 2, 2, 1, 2, 2]


def test_out_of_memory_with_one_tile_is_raised_and_no_other_error_is_taken_for_it():
    def full(x):
        raise torch.OutOfMemoryError("no room")

    with pytest.raises(torch.OutOfMemoryError):
        tiled(full, torch.rand(1, 1, 8, 8), tile=4)

    def wrong(x):
        raise RuntimeError("out of memory, says something else")

    with pytest.raises(RuntimeError, match="something else"):
        tiled(wrong, torch.rand(1, 1, 8, 8), tile=4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tile": 0}, "tile=0: expected the side"),
        ({"tile": 4, "overlap": 1.0}, "overlap=1.0: expected a share"),
        ({"tile": 4, "batch": 0}, "batch=0: expected 1 or more"),
        ({"tile": 4, "tta": "rotate"}, "tta='rotate': expected mirror, flip, d4, scales from"),
    ],
)
def test_options_outside_their_range_are_refused(options, message):
    with pytest.raises(UsageError, match=message):
        tiled(lambda x: x, torch.rand(1, 1, 8, 8), **options)


def test_maps_of_another_size_than_the_tile_are_refused():
    with pytest.raises(ValueError, match=r"got maps \[1, 1, 2, 2\] for 1 tiles of 4×4 pixels"):
        tiled(lambda x: x[..., :2, :2], torch.rand(1, 1, 4, 4), tile=None)
