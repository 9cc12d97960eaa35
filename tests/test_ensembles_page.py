"""The tutorial on ensembles: its files, commands and code, in order, on a small drawing of the same dataset."""

import json

import cv2
import pytest
from page_blocks import Page

import segkit
import segkit.data.synthetic
import segkit.training.distill
import segkit.training.run

PAGE = Page("ensembles.md")
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


def test_the_page_from_its_first_line_to_its_last(reader, capsys):
    PAGE.follow(capsys, code=lambda text: text.replace("cells_119", "cells_039"))
    assert segkit.load("fitted").names == ("stem", "resnet", "swin")
    for picture in ("inside/agreement.png", "stress/robustness.png"):
        assert cv2.imread(picture) is not None
    assert "Errors and uncertainty" in (reader / "report" / "index.html").read_text()
    lines = [json.loads(line) for line in (reader / "masks" / "manifest.jsonl").read_text().splitlines()]
    assert len(lines) == 40
    assert {line["trust"]["verdict"] for line in lines} <= {"accept", "review"}
    assert segkit.load("runs/small/model").disagrees
