"""Heads by name."""

import pytest

from segkit import heads
from segkit.heads.head import Head


def test_every_name_makes_a_head():
    assert all(isinstance(heads.create(name, 8, 4, 2), Head) for name in heads.names())


def test_options_reach_the_class():
    assert heads.create("upsample", 8, 4, 2, width=4).classify.in_channels == 4


def test_an_unknown_name_gets_the_nearest():
    with pytest.raises(ValueError, match="no head is called 'upsampel'; did you mean 'upsample'"):
        heads.create("upsampel", 8, 4, 2)


def test_an_unknown_option_gets_the_accepted_ones():
    with pytest.raises(ValueError, match="head 'upsample' has no option 'widht'; it takes: width"):
        heads.create("upsample", 8, 4, 2, widht=4)
