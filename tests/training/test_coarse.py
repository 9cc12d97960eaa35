import pytest
import torch

from segkit.training.coarse import coarse_target


def test_a_cell_holds_the_share_of_its_counted_pixels():
    target = torch.tensor([[[0, 1, 1, 1], [0, 1, 255, 255], [0, 0, 255, 255], [0, 0, 255, 255]]])
    shares, weight = coarse_target(target, (2, 2), "binary", 2)
    torch.testing.assert_close(shares, torch.tensor([[[[0.5, 1.0], [0.0, 0.0]]]]))
    torch.testing.assert_close(weight, torch.tensor([[[1.0, 0.5], [1.0, 0.0]]]))


def test_shares_of_classes_sum_to_one_where_anything_is_counted():
    target = torch.tensor([[[0, 1, 2, 255], [1, 1, 255, 2]]])
    shares, weight = coarse_target(target, (1, 2), "multiclass", 3)
    torch.testing.assert_close(shares[0, :, 0], torch.tensor([[0.25, 0.0], [0.75, 0.0], [0.0, 1.0]]))
    torch.testing.assert_close(weight, torch.tensor([[[1.0, 0.5]]]))


def test_multilabel_maps_are_averaged_each_by_itself():
    target = torch.tensor([[[[1.0, 0.0], [1.0, 255.0]], [[0.0, 0.0], [1.0, 1.0]]]])
    shares, weight = coarse_target(target, (1, 1), "multilabel", 2)
    torch.testing.assert_close(shares.flatten(), torch.tensor([2 / 3, 1 / 3]))
    assert weight.item() == 0.75


@pytest.mark.parametrize("size", [(3, 5), (7, 4)])
def test_any_size_goes(size):
    shares, weight = coarse_target(torch.ones(2, 16, 17, dtype=torch.int64), size, "binary", 2)
    assert torch.equal(shares, torch.ones(2, 1, *size))
    assert torch.equal(weight, torch.ones(2, *size))
