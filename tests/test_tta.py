import pytest

from segkit.tta import parse_tta


@pytest.mark.parametrize(
    ("tta", "turning", "scales"),
    [
        (None, None, (1,)),
        ("mirror", "mirror", (1,)),
        ("d4", "d4", (1,)),
        ("0.5", None, (1, 0.5)),
        ("flip, 0.75,1.25", "flip", (1, 0.75, 1.25)),
        ("1,2,2", None, (1, 2)),
    ],
)
def test_what_words_stand_for(tta, turning, scales):
    assert parse_tta(tta) == (turning, scales)


@pytest.mark.parametrize(
    "tta", ["spin", "", "flip,d4", "0.75,flip", "5", "0.2", "nan", "flip,", "-1", 1.25, ["flip"], True]
)
def test_other_words_are_refused(tta):
    with pytest.raises(ValueError, match=r"expected mirror, flip, d4, scales from 0.25 to 4, or both"):
        parse_tta(tta)
