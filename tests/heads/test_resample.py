"""Cropping and enlarging on the image's top-left grid."""

import torch
import torch.nn.functional as F

from segkit.heads.resample import crop, enlarge


def test_a_crop_keeps_what_the_image_covers_at_a_stride():
    x = torch.arange(12.0).view(1, 1, 3, 4)
    assert torch.equal(crop(x, 4, (5, 12)), x[..., :2, :3])


def test_enlarging_is_bilinear_by_the_ratio_then_a_crop():
    x = torch.randn(1, 2, 3, 4)
    whole = F.interpolate(x, scale_factor=3, mode="bilinear")
    assert torch.equal(enlarge(x, 3, 1, (7, 10)), whole[..., :7, :10])
    assert torch.equal(enlarge(x, 1, 2, (6, 8)), x)
