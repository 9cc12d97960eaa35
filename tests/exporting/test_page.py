"""The page on export: its commands and its code, in a folder like the one it speaks of."""

import re
from pathlib import Path

import pytest
from page_blocks import words_of

from segkit.cli.main import main

PAGE = (Path(__file__).parents[2] / "docs" / "export.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("block", [text for kind, text in BLOCKS if kind == "bash"])
def test_commands(block, quick, workplace, capsys):
    for line in block.splitlines():
        program, *words = words_of(line)
        assert program == "segkit"
        assert main(words) == 0, capsys.readouterr().err


def test_python(workplace, file, capsys):
    (workplace / "cells.onnx").write_bytes(file.read_bytes())
    (code,) = [text for kind, text in BLOCKS if kind == "python"]
    exec(compile(code, "export.md", "exec"), {})
    assert capsys.readouterr().out == f"{code.rpartition('# ')[2].strip()}\n"


def test_every_block_is_tested():
    assert {kind for kind, _ in BLOCKS} == {"bash", "python"}
