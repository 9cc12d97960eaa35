import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from segkit.contrasting.dense import draw_places


@given(seed=st.integers(0, 1000), share=st.floats(0, 1), points=st.integers(0, 30))
def test_holes_are_never_chosen_and_no_place_twice(seed, share, points):
    rng = np.random.default_rng(seed)
    valid = torch.from_numpy(rng.random((3, 5, 7)) < share)
    place = draw_places(valid, points, np.random.default_rng(seed))
    assert valid[place[:, 0], place[:, 1], place[:, 2]].all()
    assert len(set(map(tuple, place.tolist()))) == len(place)
    for picture in range(3):
        assert int((place[:, 0] == picture).sum()) == min(points, int(valid[picture].sum()))


def test_each_measured_pixel_is_equally_likely():
    valid = torch.tensor([[[True, False, True], [True, True, False]]])
    drawn = torch.cat([draw_places(valid, 1, np.random.default_rng(i)) for i in range(2000)])
    counts = torch.bincount(drawn[:, 1] * 3 + drawn[:, 2], minlength=6)
    assert counts[[1, 5]].tolist() == [0, 0]
    assert counts[[0, 2, 3, 4]].min() > 430  # of 500, five standard deviations are 97


def test_something_else_than_a_mask_is_refused():
    with pytest.raises(ValueError, match="expected bool"):
        draw_places(torch.zeros(1, 2, 2), 1, np.random.default_rng(0))
