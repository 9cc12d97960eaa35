"""Necks by name."""

import pytest

from segkit import necks
from segkit.necks.neck import Neck, step_ratios


def test_every_name_makes_a_neck():
    for name in necks.names():
        assert isinstance(necks.create(name, (4, 8), (4, 8)), Neck)


def test_options_reach_the_class():
    assert necks.create("fpn", (4, 8), (4, 8), width=6).channels == (6, 6, 6)
    assert necks.create("unet", (4, 8), (4, 8), widths=(6,)).channels == (6,)


def test_an_unknown_name_gets_the_nearest():
    with pytest.raises(ValueError, match="no neck is called 'fnp'; did you mean 'fpn'"):
        necks.create("fnp", (4,), (4,))


def test_an_unknown_option_gets_the_accepted_ones():
    with pytest.raises(ValueError, match="neck 'unet' has no option 'width'; it takes: widths"):
        necks.create("unet", (4, 8), (4, 8), width=6)


def test_ratios_of_a_pyramid():
    assert step_ratios((1, 1, 1), (2, 4, 16)) == (2, 4)


@pytest.mark.parametrize(
    ("channels", "strides", "message"),
    [
        ((4,), (4, 8), r"got channels \[4\] and strides \[4, 8\]; expected one of each per level"),
        ((), (), "expected one of each per level"),
        ((4, 8), (4, 6), r"strides are \[4, 6\]; expected each to be a multiple of the one before"),
        ((4, 8), (8, 4), "multiple of the one before, finest first"),
    ],
)
def test_a_pyramid_that_cannot_be_fused_is_refused(channels, strides, message):
    with pytest.raises(ValueError, match=message):
        step_ratios(channels, strides)
