import numpy as np

from segkit.drawing.palette import default_palette, distinct_colours


def test_the_first_seven_colours_are_okabe_and_itos():
    first = ["".join(f"{value:02X}" for value in colour) for colour in distinct_colours()[:7].tolist()]
    assert first == ["E69F00", "56B4E9", "009E73", "F0E442", "0072B2", "D55E00", "CC79A7"]


def test_all_255_differ_and_none_is_black_or_white():
    colours = {tuple(colour) for colour in distinct_colours().tolist()}
    assert len(colours) == 255
    assert not colours & {(0, 0, 0), (255, 255, 255)}


def test_the_colours_after_them_never_change():
    assert distinct_colours()[7:11].tolist() == [[142, 0, 0], [0, 0, 255], [198, 198, 170], [85, 57, 113]]


def test_binary_is_black_and_one_colour():
    assert default_palette("binary", 1).tolist() == [[0, 0, 0], [0xE6, 0x9F, 0x00]]


def test_background_is_black_and_takes_no_colour():
    colours = distinct_colours()
    assert np.array_equal(default_palette("multiclass", 4, background=0)[1:], colours[:3])
    assert np.array_equal(default_palette("multiclass", 4, background=2)[[0, 1, 3]], colours[:3])
    assert default_palette("multiclass", 4, background=2)[2].tolist() == [0, 0, 0]
    assert np.array_equal(default_palette("multilabel", 3), colours[:3])


def test_a_class_more_changes_no_other_colour():
    assert np.array_equal(default_palette("multiclass", 255, 0)[:20], default_palette("multiclass", 20, 0))
