"""Upsampling: exact ratio, then a crop; both grids share their top-left corner."""

import torch

from segkit.necks.resample import upsample


def test_upsampling_by_two_puts_each_coarse_pixel_between_its_own_two():
    row = torch.tensor([0.0, 4.0, 8.0]).view(1, 1, 1, 3)
    fine = upsample(row, 2, like=torch.empty(1, 1, 1, 5))
    assert fine.flatten().tolist() == [0.0, 1.0, 3.0, 5.0, 7.0]


def test_a_cropped_result_is_the_start_of_a_whole_one():
    coarse = torch.randn(1, 2, 3, 4)
    whole = upsample(coarse, 3, like=torch.empty(1, 1, 9, 12))
    assert torch.equal(upsample(coarse, 3, like=torch.empty(1, 1, 7, 10)), whole[..., :7, :10])


def test_a_ratio_of_one_changes_nothing():
    x = torch.randn(1, 2, 3, 4)
    assert torch.equal(upsample(x, 1, like=x), x)
