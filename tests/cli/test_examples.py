"""Every command's --help ends with an example, and the example works."""

import re

import pytest
from importing.layouts import nnunet_pictures
from page_blocks import words_of
from pretraining.conftest import SWIN, draw_colours
from typer.main import get_command

from segkit.cli.main import app, main

SHAPES = ("data.size=12", f"model.backbone={SWIN}", "train.epochs=1", "train.batch=4", "train.workers=0")
EXAMPLE = re.compile(r"Example: segkit (.+?)\s*$", re.MULTILINE)


def commands(group, path=()):
    """Every command's words, groups left out."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name)


@pytest.mark.parametrize("command", list(commands(get_command(app))), ids=" ".join)
def test_the_example_in_the_help_runs(command, workplace, tiny, small_demo, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    assert main([*command, "--help"]) == 0
    found = EXAMPLE.findall(capsys.readouterr().out)
    assert len(found) == 1
    words = list(words_of(found[0]))
    assert tuple(words[: len(command)]) == command
    if command == ("import",):
        nnunet_pictures(workplace / "Dataset004_Cells")
    if command == ("train",):
        words += tiny
    if command in (("pretrain",), ("probe",)):
        draw_colours(workplace / "shapes", train=4, val=2, test=2)
    if command == ("pretrain",):
        words += SHAPES
    if command == ("probe",):
        assert main(["pretrain", "swin_cifar10", "name=shapes", "--data", "shapes", *SHAPES]) == 0
    assert main(words) == 0
    assert capsys.readouterr().out


def test_the_example_leaves_what_it_says(workplace):
    assert main(list(words_of("predict runs/demo/model images/*.png -o masks --overlay"))) == 0
    names = sorted(path.name for path in (workplace / "masks").iterdir())
    results = ["well_01_mask.png", "well_01_overlay.png", "well_02_mask.png", "well_02_overlay.png"]
    assert names == ["manifest.jsonl", *results]
