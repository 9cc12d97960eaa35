import pytest
import torch

from segkit.errors import UsageError
from segkit.prediction.views import View, views_of


@pytest.mark.parametrize(("tta", "count"), [(None, 1), ("mirror", 2), ("flip", 4), ("d4", 8), ("d4,0.5,2", 24)])
def test_views_are_all_different_and_the_first_is_the_tile(tta, count):
    views = views_of(tta)
    assert len(set(views)) == count
    assert views[0] == View()


def test_d4_is_every_way_to_lay_a_square():
    tile = torch.arange(9.0).view(1, 1, 3, 3)
    found = {tuple(view.of(tile).flatten().tolist()) for view in views_of("d4")}
    turned = [tile.rot90(k, (2, 3)) for k in range(4)]
    assert found == {tuple(x.flatten().tolist()) for t in turned for x in (t, t.flip(-1))}


@pytest.mark.parametrize("view", views_of("d4"))
def test_the_way_back_ends_at_the_tile(view):
    tile = torch.rand(2, 3, 4, 7)
    assert torch.equal(view.back(view.of(tile), (4, 7)), tile)


def test_a_scale_is_that_of_what_the_model_sees():
    seen = View(scale=0.5).of(torch.rand(2, 3, 8, 5))
    assert seen.shape == (2, 3, 4, 2)
    assert View(scale=0.25).of(torch.rand(1, 1, 1, 1)).shape == (1, 1, 1, 1)
    assert View(exchange=True, scale=2.0).of(torch.rand(1, 1, 3, 4)).shape == (1, 1, 8, 6)
    # enlarging [0, 4] to four pixels puts them at -1/4, 1/4, 3/4, 5/4 of the way, and the image ends at its pixels
    row = torch.tensor([0.0, 4.0]).view(1, 1, 1, 2)
    assert View().back(row, (1, 4)).flatten().tolist() == [0, 1, 3, 4]


def test_words_without_meaning_are_refused():
    with pytest.raises(UsageError, match="tta='spin': expected"):
        views_of("spin")


def test_mirror_and_flip_turn_columns_and_rows():
    tile = torch.tensor([[1.0, 2.0], [3.0, 4.0]]).view(1, 1, 2, 2).repeat(1, 3, 1, 1) * torch.tensor([1, 10, 100]).view(
        1, 3, 1, 1
    )
    seen = {tta: [view.of(tile)[0, 1].flatten().tolist() for view in views_of(tta)] for tta in ("mirror", "flip")}
    assert seen["mirror"] == [[10, 20, 30, 40], [20, 10, 40, 30]]
    assert seen["flip"] == [*seen["mirror"], [30, 40, 10, 20], [40, 30, 20, 10]]
