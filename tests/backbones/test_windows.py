"""Windows: cut and joined without loss, and masks that agree with torchvision's."""

import pytest
import torch

from segkit.backbones.windows import put_back, split_windows, take_windows, window_mask, window_places

CPU = torch.device("cpu")


def test_windows_come_row_by_row():
    x = torch.arange(8.0).view(1, 2, 4, 1)
    assert split_windows(x, (2, 2)).view(2, 4).tolist() == [[0, 1, 4, 5], [2, 3, 6, 7]]


@pytest.mark.parametrize(
    ("size", "padded", "window", "shift"),
    [((5, 6), (6, 8), (3, 4), (1, 2)), ((6, 4), (6, 4), (3, 2), (0, 1)), ((1, 1), (7, 7), (7, 7), (0, 0))],
)
def test_windows_are_those_of_the_padded_and_rolled_map(size, padded, window, shift):
    x = torch.randn(2, *size, 3)
    filler = torch.randn(2, 1, 3)
    rolled = filler[:, :, None].repeat(1, *padded, 1)
    rolled[:, : size[0], : size[1]] = x
    expected = split_windows(torch.roll(rolled, (-shift[0], -shift[1]), (1, 2)), window)
    places = window_places(size, padded, window, shift, CPU)
    tokens = torch.cat([x.flatten(1, 2), filler], 1) if padded != size else x.flatten(1, 2)
    windows = take_windows(tokens, places)
    assert torch.equal(windows, expected.flatten(1, 2))
    assert torch.equal(put_back(windows, places), x.flatten(1, 2))


@pytest.mark.parametrize(("size", "padded"), [((5, 6), (6, 8)), ((6, 8), (6, 8))])
def test_gradients_of_windows_are_those_of_indexing(size, padded):
    places = window_places(size, padded, (3, 4), (1, 2), CPU)
    count = size[0] * size[1]
    x = torch.randn(2, count + (padded != size), 3, dtype=torch.double, requires_grad=True)
    y = torch.randn(2, padded[0] * padded[1], 3, dtype=torch.double, requires_grad=True)
    torch.autograd.gradcheck(lambda x: take_windows(x, places), x)
    torch.autograd.gradcheck(lambda y: put_back(y, places), y)


def torchvision_mask(padded, window, shift):
    """The mask as torchvision's ``shifted_window_attention`` draws it, region by region."""
    height, width = padded
    regions, count = torch.zeros(padded), 0
    for top, bottom in ((0, -window[0]), (-window[0], -shift[0]), (-shift[0], None)):
        for left, right in ((0, -window[1]), (-window[1], -shift[1]), (-shift[1], None)):
            regions[top:bottom, left:right] = count
            count += 1
    regions = regions.view(height // window[0], window[0], width // window[1], window[1])
    regions = regions.permute(0, 2, 1, 3).reshape(-1, window[0] * window[1])
    apart = regions.unsqueeze(1) - regions.unsqueeze(2)
    return apart.masked_fill(apart != 0, -100.0)


@pytest.mark.parametrize(
    ("padded", "shift"), [((14, 21), (3, 3)), ((7, 14), (0, 3)), ((14, 7), (3, 0)), ((28, 28), (3, 3))]
)
def test_shift_mask_is_torchvisions(padded, shift):
    mask = window_mask(padded, padded, (7, 7), shift, torch.float32, CPU)
    assert torch.equal(mask.clamp(min=-100), torchvision_mask(padded, (7, 7), shift))


def test_padding_sees_only_padding():
    mask = window_mask((1, 3), (1, 4), (1, 2), (0, 0), torch.float32, CPU)
    off = -torch.inf
    assert mask.tolist() == [[[0, 0], [0, 0]], [[0, off], [off, 0]]]


def test_padding_is_found_again_after_the_roll():
    # Four columns, the last one padding, rolled by one: 1 2 | P 0. Column 0 is alone twice: the roll moved it there.
    mask = window_mask((1, 3), (1, 4), (1, 2), (0, 1), torch.float32, CPU)
    off = -torch.inf
    assert mask.tolist() == [[[0, 0], [0, 0]], [[0, off], [off, 0]]]


def test_masks_are_shared_between_calls_but_not_across_types():
    def mask(dtype):
        return window_mask((14, 14), (14, 14), (7, 7), (3, 3), dtype, CPU)

    assert mask(torch.float32) is mask(torch.float32)
    assert mask(torch.bfloat16).dtype == torch.bfloat16
