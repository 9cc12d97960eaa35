"""The coarsest level, handed through."""

import pytest
import torch

from segkit.necks.coarsest import Coarsest


def test_the_last_level_comes_out_as_it_went_in():
    neck, levels = Coarsest((4, 6), (8, 32)), [torch.randn(1, 4, 8, 8), torch.randn(1, 6, 2, 2)]
    assert (neck.channels, neck.strides) == ((6,), (32,))
    (found,) = neck(levels)
    assert found is levels[1]


def test_levels_without_strides_are_refused():
    with pytest.raises(ValueError, match="expected one of each per level"):
        Coarsest((4, 6), (8,))
