import pytest

from segkit.one_line import one_line


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("two\n  lines\tof it"), "two lines of it"),
        (KeyError(), "KeyError"),
        (AssertionError(" \n "), "AssertionError"),
        (RuntimeError("x" * 300), "x" * 200),
        ("words", "words"),
    ],
)
def test_whatever_an_error_says_becomes_one_line_that_is_not_empty(error, line):
    assert one_line(error) == line
