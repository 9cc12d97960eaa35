"""Sub-pixel convolution: which channel becomes which pixel, and a start without checkerboards."""

import pytest
import torch
import torch.nn.functional as F

from segkit.heads.pixelshuffle import PixelShuffleHead


@pytest.mark.parametrize("stride", [1, 2, 3, 8])
@torch.no_grad()
def test_it_starts_as_a_convolution_enlarged_to_the_nearest_pixel(stride):
    head, level = PixelShuffleHead(6, stride, 4, width=8).eval(), torch.randn(2, 6, 5, 7)
    block = stride**2
    small = F.conv2d(head.mix(level), head.classify.weight[::block], head.classify.bias[::block], padding=1)
    assert len({tuple(row.flatten().tolist()) for row in head.classify.weight}) == 4  # one kernel a class
    expected = F.interpolate(small, scale_factor=stride, mode="nearest")
    torch.testing.assert_close(head([level], (5 * stride, 7 * stride)), expected)


@torch.no_grad()
def test_each_class_has_its_own_block_of_channels_read_row_by_row():
    head = PixelShuffleHead(1, 2, 2, width=1).eval()
    head.classify.weight.zero_()
    head.classify.bias.copy_(torch.arange(8.0))
    logits = head([torch.randn(1, 1, 2, 2)], (3, 4))[0]
    assert logits[0].tolist() == [[0, 1, 0, 1], [2, 3, 2, 3], [0, 1, 0, 1]]
    assert logits[1].tolist() == [[4, 5, 4, 5], [6, 7, 6, 7], [4, 5, 4, 5]]
