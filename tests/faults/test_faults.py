"""Damaged datasets, recipes, models and pictures: one clear line, the right exit code, nothing half-written."""

import shlex
import subprocess

import cv2
import pytest
from faults.damage import CASES, TRAIN

from segkit.cli.main import main


def files(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def words(case, tiny):
    """The command line of a case; the shipped recipe is made small."""
    return [*shlex.split(case.command), *(tiny if case.command.startswith(TRAIN) else ())]


def check(case, code, out, err, folder, before):
    lines = err.splitlines()
    assert code == case.code, err
    assert "Traceback" not in err
    assert lines[-1].startswith(("error: ", "Error: ", "│ ", "╰"))
    for words in case.says:
        assert words in err
    new = files(folder) - before - {"out/manifest.jsonl"}
    masks = {name for name in new if name.startswith("out/") and name.endswith("_mask.png")}
    assert new == masks  # nothing is left but the masks of the pictures that could be read
    for name in masks:
        assert cv2.imread(str(folder / name), cv2.IMREAD_UNCHANGED) is not None


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_in_process(case, workplace, tiny, capfd):
    case.damage(workplace)
    before = files(workplace)
    code = main(words(case, tiny))
    check(case, code, *capfd.readouterr(), workplace, before)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES[::2], ids=lambda case: case.name)
def test_through_the_command(case, workplace, tiny):
    case.damage(workplace)
    before = files(workplace)
    done = subprocess.run(["segkit", *words(case, tiny)], capture_output=True, text=True, check=False)
    check(case, done.returncode, done.stdout, done.stderr, workplace, before)
