import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torchvision.transforms.v2 import functional

from segkit.labelled.windows import draw_windows, moved, seen_through, whole_windows

STAY = np.zeros(2, dtype=np.bool_)


def batch(*shape):
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def extents(image):
    return np.tile(np.array(image.shape[-2:]), (len(image), 1))


def test_windows_have_the_areas_and_shapes_asked_for():
    extent = np.tile([600, 800], (4000, 1))
    windows = draw_windows(extent, (0.08, 1.0), (3 / 4, 4 / 3), np.random.default_rng(0))
    top, left, height, width = windows.T
    assert (top >= 0).all()
    assert (left >= 0).all()
    assert (top + height <= 600).all()
    assert (left + width <= 800).all()
    area, ratio = height * width / 480_000, width / height
    assert 0.079 < area.min() < 0.09
    assert 0.95 < area.max() <= 1
    assert 0.745 < ratio.min() < 0.76
    assert 1.32 < ratio.max() < 1.34
    small = area < 0.3  # these always fit, so they are uniform
    assert abs(area[small].mean() - 0.19) < 0.01
    assert abs(np.log(ratio[small]).mean()) < 0.02
    assert abs((left / (800 - width))[small].mean() - 0.5) < 0.03


def test_where_no_window_fits_the_largest_central_one_is_taken():
    extent = np.array([[10, 1000], [1000, 10], [50, 50]])
    windows = draw_windows(extent, (1.0, 1.0), (0.5, 2.0), np.random.default_rng(0))
    assert windows.tolist()[:2] == [[0, 490, 10, 20], [490, 0, 20, 10]]
    whole = draw_windows(extent[2:], (1.0, 1.0), (2.0, 3.0), np.random.default_rng(0))
    assert whole.tolist() == [[12, 0, 25, 50]]


def test_the_whole_image_at_its_own_size_is_itself():
    image = batch(2, 3, 17, 23)
    seen = seen_through(image, extents(image), whole_windows(extents(image)), np.array([False, True]), (17, 23))
    assert seen.dtype == torch.float32
    assert torch.allclose(seen[0], image[0] / 255, atol=1e-5)
    assert torch.allclose(seen[1], image[1].flip(-1) / 255, atol=1e-5)


def test_a_window_is_what_torchvision_cuts_and_resizes():
    image = batch(2, 3, 40, 50)
    windows = np.array([[3, 5, 24, 16], [0, 0, 40, 50]])
    seen = seen_through(image, extents(image), windows, STAY, (32, 32))
    for one, (top, left, height, width), ours in zip(image, windows, seen, strict=True):
        theirs = functional.resized_crop(one / 255, top, left, height, width, [32, 32], antialias=False)
        assert torch.allclose(ours[:, 2:-2, 2:-2], theirs[:, 2:-2, 2:-2], atol=1e-4)  # theirs knows nothing around it


def test_nothing_is_lost_between_samples():
    image = torch.zeros(2, 1, 64, 64, dtype=torch.uint8)
    image[:, :, ::2, ::2] = 255  # means of a quarter everywhere
    for side in (32, 16, 8):
        seen = seen_through(image, extents(image), whole_windows(extents(image)), STAY, (side, side))
        assert torch.allclose(seen, torch.full_like(seen, 0.25), atol=1e-4)


def test_half_the_size_is_the_mean_of_four():
    image = batch(2, 3, 12, 16)
    seen = seen_through(image, extents(image), whole_windows(extents(image)), STAY, (6, 8))
    assert torch.allclose(seen, F.avg_pool2d(image / 255, 2), atol=1e-5)


def test_padding_is_never_seen():
    image = torch.zeros(2, 3, 20, 30, dtype=torch.uint8)
    extent = np.array([[20, 11], [7, 30]])
    for one, (height, width) in zip(image, extent, strict=True):
        one[:, :height, :width] = 255
    seen = seen_through(image, extent, whole_windows(extent), np.array([False, True]), (16, 16))
    assert torch.allclose(seen, torch.ones(2, 3, 16, 16))


@pytest.mark.parametrize("offsets", [[[0, 0], [2, -1]], [[-3, 3], [3, 3]]])
def test_moving_is_by_whole_pixels_over_black(offsets):
    image = batch(2, 3, 9, 11)
    done = moved(image, np.array(offsets), np.array([False, True]), 3)
    padded = F.pad(image, (3, 3, 3, 3))
    for one, ours, (down, across), mirrored in zip(padded, done, offsets, (False, True), strict=True):
        theirs = one[:, 3 + down : 12 + down, 3 + across : 14 + across]
        assert torch.equal(ours, theirs.flip(-1) if mirrored else theirs)
