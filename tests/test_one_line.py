import importlib

import pytest

from segkit.one_line import found_there, one_line, why_missing


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


def test_a_library_that_is_there_and_broken_is_not_said_to_be_missing(tmp_path, monkeypatch):
    (tmp_path / "brokenlibrary.py").write_text("raise ImportError('DLL load failed')")
    (tmp_path / "needsanother.py").write_text("import nosuchlibraryatall")
    monkeypatch.syspath_prepend(tmp_path)
    found = {}
    for name in ("nosuchlibrary.part", "brokenlibrary", "needsanother"):
        try:
            importlib.import_module(name)
        except ImportError as error:
            found[name] = why_missing(error, name.partition(".")[0])
    assert found == {
        "nosuchlibrary.part": "is not installed",
        "brokenlibrary": "can't be imported (DLL load failed)",
        "needsanother": "can't be imported (No module named 'nosuchlibraryatall')",
    }


def test_what_was_found_is_shown_where_it_is_short():
    assert found_there([1, "a"]) == " (found [1, 'a'])"
    assert found_there("x" * 58) == f" (found '{'x' * 58}')"
    assert found_there("x" * 59) == found_there(list(range(40))) == found_there({i: i for i in range(30)}) == ""
    nested = [1] * 10
    for _ in range(40):
        nested = [nested] * 10
    assert found_there(nested) == ""
