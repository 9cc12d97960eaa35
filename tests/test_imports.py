"""The house has floors: no part imports one that imports it, and the leaf packages know nothing of the toolkit."""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

FILE = Path(__file__).parent.parent / "docs" / "imports.py"
SPEC = spec_from_file_location("house_imports", FILE)
assert SPEC is not None
assert SPEC.loader is not None
house = module_from_spec(SPEC)
sys.modules["house_imports"] = house
SPEC.loader.exec_module(house)

LEAVES = ("backbones", "necks", "heads")
GIVEN = {"parts", "own_class", "own_check", "nearest", "one_line"}  # modules that import none of the others


def test_no_part_imports_what_imports_it():
    floors = house.floors(house.imports())
    assert floors[-1] == ["__main__"]
    place = {part: number for number, floor in enumerate(floors) for part in floor}
    for order in (
        ("errors", "data", "recipe", "model", "ensemble", "prediction", "evaluation", "training", "cli", "__main__"),
        ("errors", "medical", "prediction", "exporting", "cli"),
    ):
        assert [place[part] for part in order] == sorted({place[part] for part in order})


@pytest.mark.parametrize("leaf", LEAVES)
def test_the_leaves_know_nothing_of_the_toolkit_nor_of_each_other(leaf):
    parts = house.imports()
    assert parts[leaf] <= GIVEN
    for given in parts[leaf]:
        assert parts[given] <= GIVEN


def test_a_circle_is_found():
    with pytest.raises(ValueError, match="in a circle, or what does: a, b, c"):
        house.floors({"a": {"b"}, "b": {"a"}, "c": {"a"}, "d": set()})


def test_imports_of_type_checkers_do_not_count(tmp_path):
    file = tmp_path / "some.py"
    file.write_text(
        "import segkit.data\nfrom segkit.errors import DataError\nfrom typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    from segkit.model import Segmenter\n"
        "def later():\n    from segkit.cli import main\n"
        "class Here:\n    from segkit import heads\n"
    )
    assert list(house.imported(file)) == ["segkit.data", "segkit.errors.DataError", "segkit.cli.main", "segkit.heads"]
