"""Units of length by their names."""

import pytest

from segkit.medical.lengths import nanometres_in


@pytest.mark.parametrize(
    "micron", ["\u00b5m", "\u03bcm", "\\u00B5m", "\\u00b5m", "\\u03bcm", " um", "Micron", "micrometre"]
)
def test_a_micron_may_be_written_in_many_ways(micron):
    assert nanometres_in(micron) == 1000


def test_other_units():
    names = ("pm", "\u00c5", "\u212b", "nm", "mm", "centimeter", "m", "inch")
    assert [nanometres_in(name) for name in names] == [1e-3, 0.1, 0.1, 1, 1e6, 1e7, 1e9, 25.4e6]
    assert [nanometres_in(name) for name in ("", "pixel", "reference frame", "s")] == [None] * 4
