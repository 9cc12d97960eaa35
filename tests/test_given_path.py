import os
from pathlib import Path

import numpy as np
import pytest

from segkit.errors import UsageError
from segkit.given_path import given_path


def test_a_path_is_text_or_a_path(tmp_path):
    assert given_path("a/b.png", "out") == given_path(Path("a/b.png"), "out") == Path("a/b.png")
    (tmp_path / "x.png").touch()
    assert given_path(next(os.scandir(tmp_path)), "out") == tmp_path / "x.png"


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("", "''"),
        ("im\0x", r"'im\\x00x'"),
        (b"k/a.png", "b'k/a.png'"),
        (5, "int"),
        (None, "NoneType"),
        (np.zeros((9, 9)), "ndarray"),
    ],
)
def test_anything_else_is_one_line(given, found):
    with pytest.raises(UsageError, match=rf"^out: got {found}; expected the name of a file or folder$"):
        given_path(given, "out")
