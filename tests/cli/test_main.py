"""What goes wrong is one line and an exit code, and nothing heavy is imported before it is needed."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import segkit
from segkit.cli import models
from segkit.cli.main import main


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"segkit {segkit.__version__}\n"


def test_a_wrong_recipe_is_one_line_and_exit_code_2(capsys):
    assert main(["train", "dem"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "error: no recipe 'dem'; did you mean 'demo'? (or give a .yaml file)\n"


def test_a_dataset_in_the_place_of_a_recipe_is_told(capsys, workplace):
    assert main(["train", "cells"]) == 2
    assert capsys.readouterr().err == "error: cells: a dataset, where a recipe is expected\n"


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("Unable to allocate 62.9 GiB"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory:\nyou tried 62.9 GiB"),
    ],
)
def test_out_of_memory_is_wrong_use_and_says_what_to_make_smaller(error, capsys, monkeypatch):
    def full():
        raise error

    monkeypatch.setattr(models, "catalogue", full)
    assert main(["models"]) == 2
    expected = "take smaller crops (data.crop), batches (train.batch) or tiles (--tile), or end other programs\n"
    what = " ".join(str(error).split())
    assert capsys.readouterr().err == f"error: out of memory ({what}); {expected}"


def test_a_missing_argument_is_exit_code_2(capsys):
    assert main(["predict"]) == 2
    assert "Missing argument" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [["predict", "", "images", "-o", "out"], ["predict", "m", "i", "-o", ""], ["predict", "m", "i", "--depth="]],
)
def test_an_empty_argument_is_not_the_current_folder(capsys, words):
    assert main(words) == 2
    expected = "error: an argument is empty, where a name or a value is expected; is a variable unset?\n"
    assert capsys.readouterr().err == expected


def test_a_missing_dataset_is_exit_code_3(capsys, workplace):
    assert main(["evaluate", "runs/demo/model", "nowhere"]) == 3
    assert capsys.readouterr().err == "error: nowhere: no such folder\n"


def test_the_unexpected_is_one_line_that_says_how_to_see_more(capsys, monkeypatch):
    monkeypatch.setattr(models, "catalogue", lambda: 1 / 0)
    monkeypatch.delenv("SEGKIT_DEBUG", raising=False)
    assert main(["models"]) == 1
    expected = "error: unexpected ZeroDivisionError: division by zero (SEGKIT_DEBUG=1 in the environment shows where)\n"
    assert capsys.readouterr().err == expected


def test_the_traceback_comes_when_asked_for(capsys, monkeypatch):
    monkeypatch.setattr(models, "catalogue", lambda: 1 / 0)
    monkeypatch.setenv("SEGKIT_DEBUG", "1")
    assert main(["models"]) == 1
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_an_interrupt_is_exit_code_130(capsys, monkeypatch):
    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr(models, "catalogue", interrupted)
    assert main(["models"]) == 130
    assert capsys.readouterr().err.strip() == "interrupted"


LIGHT = "import sys; from segkit.cli.main import main; main({arguments}); sys.exit('torch' in sys.modules)"


def light(arguments, **environment):
    """Standard output of a command in a fresh interpreter; an error where it imports torch."""
    command = [sys.executable, "-c", LIGHT.format(arguments=arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment}, check=True)
    return done.stdout


@pytest.mark.parametrize("command", [[], ["train"], ["check"], ["evaluate"], ["predict"], ["config", "show"], ["demo"]])
def test_help_needs_no_torch(command):
    assert "Example:" in light([*command, "--help"])


def test_config_needs_no_torch():
    assert light(["config", "show", "demo"]).startswith("name: demo\n")


def test_completion_knows_the_recipes_and_needs_no_torch():
    words = {"_SEGKIT_COMPLETE": "complete_bash", "COMP_WORDS": "segkit train de", "COMP_CWORD": "2"}
    assert light(None, **words).split() == ["demo"]


def test_without_a_compiler_compile_is_refused_in_one_line(workplace):
    command = [
        Path(sys.executable).with_name("segkit"),
        "predict",
        "runs/demo/model",
        "images",
        "-o",
        "masks",
        "--compile",
    ]
    without = {**os.environ, "CXX": "no-such-compiler", "TORCHINDUCTOR_CACHE_DIR": str(workplace / "cache")}
    done = subprocess.run(command, capture_output=True, text=True, env=without, cwd=workplace)
    assert done.returncode == 2
    assert re.fullmatch(
        r"error: compile: PyTorch can't compile on this machine \(.+\); leave compile out\n", done.stderr
    )


def test_a_terminated_command_leaves_no_half_written_file(tmp_path):
    code = f"""
import time
from pathlib import Path
from segkit.cli import main
from segkit.files import atomic_path

def write():
    with atomic_path(Path({str(tmp_path)!r}) / "mask.png") as path:
        path.write_text("half")
        print("writing", flush=True)
        time.sleep(60)

main.main = write
main.run()
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert len(list(tmp_path.iterdir())) == 1
        process.terminate()
        _, said = process.communicate(timeout=30)
    assert (process.returncode, said) == (143, b"terminated\n")
    assert list(tmp_path.iterdir()) == []
