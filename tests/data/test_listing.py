from pathlib import Path

import pytest

from segkit.data.description import Description
from segkit.data.listing import by_stem, entries, list_folder
from segkit.errors import DataError


@pytest.fixture
def folder(tmp_path):
    for name in ("b.png", "a.PNG", "a.tif", "notes.txt", ".hidden.png"):
        (tmp_path / name).touch()
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner.png").mkdir()
    return tmp_path


def test_a_listing_has_files_by_stem_further_ones_and_others(folder):
    listing = list_folder(folder, (".png", ".tif"))
    assert listing.found == {"a": folder / "a.PNG", "b": folder / "b.png"}
    assert listing.twice == (folder / "a.tif",)
    assert listing.others == (folder / "inner", folder / "inner.png", folder / "notes.txt")
    assert [entry.name for entry in entries(folder)] == ["a.PNG", "a.tif", "b.png", "inner", "inner.png", "notes.txt"]


def test_files_by_stem_must_be_there_once(folder, tmp_path):
    assert list(by_stem(folder, (".png",))) == ["a", "b"]
    with pytest.raises(DataError, match=r"a\.tif: a\.PNG has the same name; keep one of them"):
        by_stem(folder, (".png", ".tif"))
    with pytest.raises(DataError, match=r"no files of a type that is read here \(\.bmp\); there are , \.PNG, \.png"):
        by_stem(folder, (".bmp",))
    with pytest.raises(DataError, match="nowhere: no such folder; a dataset has images/ and masks/"):
        entries(Path(tmp_path / "nowhere"))


def test_names_are_the_same_however_letters_with_marks_are_written(tmp_path):
    (tmp_path / "Zelle_a\u0308.png").write_bytes(b"")
    assert list(list_folder(tmp_path, [".png"]).found) == ["Zelle_\u00e4"]
    assert Description.model_validate({"splits": {"train": ["Zelle_a\u0308"]}}).splits["train"] == ("Zelle_\u00e4",)
