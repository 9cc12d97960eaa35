"""What is kept of pictures and members' maps to fit on."""

import numpy as np
import torch

from segkit.fitting.heldout import HeldOut, _window, points


def test_a_window_lies_around_a_pixel_that_counts():
    target = np.full((40, 50), 255, np.uint8)
    target[30, 45] = 1
    expected = (slice(26, 34), slice(41, 49))
    for given in (target, np.stack([np.full_like(target, 255), target])):
        assert _window(given, 8, np.random.default_rng(0)) == expected
    strip = np.full((400, 4), 255, np.uint8)  # a volume's slices one below the other
    strip[300, 2] = 1
    assert _window(strip, 8, np.random.default_rng(0)) == (slice(292, 308), slice(0, 4))
    assert _window(strip.T, 8, np.random.default_rng(0)) == (slice(0, 4), slice(292, 308))
    assert _window(strip[:16], 8, np.random.default_rng(0)) == (slice(0, 16), slice(0, 4))
    assert _window(np.full_like(target, 255), 8, np.random.default_rng(0)) == (slice(0, 8), slice(0, 8))


def test_points_are_as_many_of_each_picture_that_count_and_none_twice():
    place = torch.arange(600.0).view(20, 30)
    target = torch.where(place < 300, 255, place % 2).long()
    picture = HeldOut("a", place.expand(2, 1, 20, 30), torch.zeros(3, 20, 30), target)
    members, truth = points([picture, picture], 100)
    assert members.shape == (2, 1, 100)
    assert members.min() >= 300
    assert torch.equal(members[0, 0] % 2, truth.float())
    assert len(set(members[0, 0, :50].tolist())) == 50
