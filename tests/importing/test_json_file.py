"""JSON of others: what is wrong in it is said in one line with its place; nothing leads out of the folder."""

import pytest
from pydantic import BaseModel

from segkit.errors import DataError
from segkit.importing.json_file import inside, read_json


class Thing(BaseModel):
    size: int
    parts: list[str] = []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b'{\n "size": 1,\n "parts": [}\n', r"not valid JSON: expected value at line 3 column 12"),
        (b'{"size": 1', r"not valid JSON: EOF while parsing an object at line 1 column 10"),
        (b"", r"not valid JSON: EOF while parsing a value at line 1 column 0"),
        (b'{"size": "\xff"}', r"not valid JSON: invalid unicode code point at line 1 column 11"),
        (b"[" * 1000, r"not valid JSON: recursion limit exceeded at line 1 column \d+"),
        (b"{}", r"size: missing"),
        (b"[]", r"input should be an object \(found \[\]\)"),
        (b'{"size": 1, "parts": ["a", 2]}', r"parts\[1\]: input should be a valid string \(found 2\)"),
        (b'{"parts": [1, 2]}', r"size: missing; 2 more faults"),
    ],
)
def test_what_is_wrong_is_one_line_with_its_place(text, message, tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(text)
    with pytest.raises(DataError, match=f"a.json: {message}$") as caught:
        read_json(path, Thing)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_folder(tmp_path):
    with pytest.raises(DataError, match=r"none.json: can't be read \(No such file or directory\)"):
        read_json(tmp_path / "none.json", Thing)
    with pytest.raises(DataError, match=r"can't be read \(Is a directory\)"):
        read_json(tmp_path, Thing)


def test_a_byte_order_mark_is_no_fault(tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(b"\xef\xbb\xbf" + b'{"size": 3}')
    assert read_json(path, Thing).size == 3


def test_names_are_places_in_the_folder(tmp_path):
    assert inside(tmp_path, "./images/a.png", tmp_path / "x.json") == tmp_path / "images" / "a.png"
    assert inside(tmp_path, "images\\a.png", tmp_path / "x.json") == tmp_path / "images" / "a.png"


@pytest.mark.parametrize(
    "named", ["../a.png", "images/../../a.png", "/etc/passwd", "C:\\a.png", "C:a.png", "\\\\host\\a"]
)
def test_nothing_leads_out_of_the_folder(named, tmp_path):
    with pytest.raises(DataError, match=r"x.json: names .* which leads out of its folder; nothing outside .* is read"):
        inside(tmp_path, named, tmp_path / "x.json")


@pytest.mark.parametrize("named", ["", ".", "a\0.png"])
def test_what_is_no_name_is_refused(named, tmp_path):
    with pytest.raises(DataError, match="which is no name"):
        inside(tmp_path, named, tmp_path / "x.json")
