"""The tutorial on ensembles: its files, commands and code, in order, on a small drawing of the same dataset."""

import json
import re
from pathlib import Path

import cv2
import pytest

import segkit
import segkit.data.synthetic
import segkit.training.distill
import segkit.training.run
from segkit.cli.main import main

PAGE = (Path(__file__).parent.parent / "docs" / "ensembles.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
TITLE = re.compile(r"# (\S+\.(?:py|yaml))\n")
SHORT = ["train.epochs=1", "train.batch=4", "train.workers=0", "data.crop=32"]


@pytest.fixture
def reader(tmp_path, monkeypatch):
    """An empty folder; what is drawn in it is small, and training takes seconds."""
    monkeypatch.chdir(tmp_path)
    draw, train = segkit.data.synthetic.draw_cells, segkit.training.run.train

    def small(folder, images, **options):
        return draw(folder, images=images // 3, size=48, **options)

    def short(recipe, data=None, overrides=(), **options):
        return train(recipe, data, [*overrides, *SHORT], **options)

    monkeypatch.setattr("segkit.data.synthetic.draw_cells", small)
    monkeypatch.setattr("segkit.training.run.train", short)
    monkeypatch.setattr("segkit.training.distill.train", short)
    return tmp_path


def test_the_page_from_its_first_line_to_its_last(reader, words_of, capsys):
    session = {}
    for kind, text in BLOCKS:
        title = TITLE.match(text)
        if title:
            (reader / title[1]).write_text(text)
        elif kind == "python":
            exec(compile(text.replace("cells_119", "cells_039"), "ensembles.md", "exec"), session)
        else:
            for line in text.splitlines():
                program, *words = words_of(line)
                if program == "python":
                    exec(compile(Path(words[0]).read_text(), words[0], "exec"), {})
                else:
                    assert program == "segkit"
                    assert main(words) == 0, capsys.readouterr().err
    assert segkit.load("fitted").names == ("stem", "resnet", "swin")
    for picture in ("inside/agreement.png", "stress/robustness.png"):
        assert cv2.imread(picture) is not None
    assert "Errors and uncertainty" in (reader / "report" / "index.html").read_text()
    lines = [json.loads(line) for line in (reader / "masks" / "manifest.jsonl").read_text().splitlines()]
    assert len(lines) == 40
    assert {line["trust"]["verdict"] for line in lines} <= {"accept", "review"}
    assert segkit.load("runs/small/model").disagrees


def test_its_pictures_are_there():
    named = re.findall(r"!\[[^]]+]\(([^)]+)\)", PAGE)
    assert named == ["ensembles_agreement.png", "ensembles_picture.png", "ensembles_stress.png"]
    for name in named:
        assert cv2.imread(str(Path(__file__).parent.parent / "docs" / name)) is not None
