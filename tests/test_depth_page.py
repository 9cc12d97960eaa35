"""The tutorial on depth: its files, commands and code, in order, on a small drawing of the same dataset."""

import importlib
import re

import cv2
import numpy as np
import pytest
import torch
import yaml
from page_blocks import TITLE, Page

import segkit
import segkit.data.synthetic
import segkit.training.run
from segkit.cli.main import main
from segkit.cli.models import catalogue
from segkit.data.description import Description

PAGE = Page("depth.md")
PART = "# in dataset.yaml\n"
SHORT = ["train.epochs=2", "train.batch=12", "train.workers=0", "data.crop=32"]


@pytest.fixture
def reader(tmp_path, monkeypatch):
    """An empty folder; what is drawn in it is small, and training takes seconds."""
    monkeypatch.chdir(tmp_path)
    draw, train = segkit.data.synthetic.draw_cells, segkit.training.run.train

    def small(folder, *, size, **options):
        return draw(folder, size=size // 4, **options)

    def short(recipe, data=None, overrides=(), **options):
        return train(recipe, data, [*overrides, *SHORT], **options)

    monkeypatch.setattr("segkit.data.synthetic.draw_cells", small)
    monkeypatch.setattr("segkit.training.run.train", short)
    return tmp_path


def test_the_page_from_its_first_line_to_its_last(reader, capsys):
    PAGE.follow(capsys)
    cell = (reader / "with" / "cells_080_depth.png", reader / "without" / "cells_080_mask.png")
    assert cv2.imread(str(cell[0])).shape == (32, 3 * 32 + 2 * 4, 3)
    assert cv2.imread(str(cell[1])) is not None
    assert len(list((reader / "with").glob("*_depth.png"))) == 20
    assert segkit.load("runs/fine/model").reader.depth.unit == "0.1mm"
    assert len(segkit.load("mixed").names) == 2

    assert main(["train", "fine.yaml", "name=frozen", "train.unfreeze=null"]) == 0, capsys.readouterr().err
    colour, frozen = (segkit.load(f"runs/{name}/model").eval() for name in ("colour", "frozen"))
    image = torch.rand(2, 3, 33, 47)
    torch.testing.assert_close(frozen(image), colour(image), rtol=1e-4, atol=1e-4)


def test_printed_cells_are_as_flat_as_the_slide(reader):
    segkit.data.synthetic.draw_cells("whole", images=100, size=128, splits=(0.6, 0.2, 0.2))
    exec(compile(dict_of_files()["cells.py"], "cells.py", "exec"), {})
    rise = {"printed": [], "real": []}
    for name in (f"cells_{i:03}.png" for i in range(100)):
        all_cells, cells = (cv2.imread(f"{folder}/masks/{name}", cv2.IMREAD_UNCHANGED) for folder in ("whole", "cells"))
        depth = cv2.imread(f"cells/depth/{name}", cv2.IMREAD_UNCHANGED).astype(float)
        slide = np.median(depth[(all_cells == 0) & (depth > 0)])
        for kind, there in (("printed", (all_cells > 0) & (cells == 0)), ("real", cells > 0)):
            rise[kind].extend(slide - depth[there & (depth > 0)])
    assert abs(np.mean(rise["printed"])) < 3
    assert np.mean(rise["real"]) > 10
    assert 0.3 < len(rise["real"]) / sum(map(len, rise.values())) < 0.7


def test_the_keys_of_a_dataset_are_right():
    parts = [text for kind, text in PAGE.blocks if kind == "yaml" and text.startswith(PART)]
    assert [Description(classes=("a", "b"), **yaml.safe_load(part)).depth_unit for part in parts] == ["mm", "relative"]


def test_the_table_of_bridges_is_what_the_command_prints():
    rows = re.findall(r"^\| `(\w+)` \|.*\| ([\d,]+) \|$", PAGE.text, re.MULTILINE)
    printed = {row["name"]: f"{row['parameters']:,}" for row in catalogue()[0]["bridges"]}
    assert dict(rows) == printed


def test_a_bridge_of_twenty_lines(tmp_path, monkeypatch):
    page = Page("adding_parts.md").text
    (text,) = re.findall(r"^```python\n# mypackage/bridges\.py\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert len([line for line in text.splitlines() if line.strip()]) <= 20
    (tmp_path / "bridge_of_the_page.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    stem = {"name": "stem", "width": 4}
    own = {"name": "bridge_of_the_page:Modulate", "width": 8}
    model = segkit.Segmenter.create(stem, depth=stem, bridge=own, neck="fpn", classes=2)
    image, depth = torch.rand(2, 3, 33, 47), torch.ones(2, 2, 33, 47)
    assert torch.equal(model.eval()(image, depth), model(image))
    model.train()(image, depth).square().mean().backward()
    assert all(bridge.last.weight.grad.any() for bridge in model.backbone.bridges.values())
    for bridge in model.backbone.bridges.values():
        torch.nn.init.normal_(bridge.last.weight)
    assert not torch.equal(model.eval()(image, depth), model(image))
    assert torch.equal(model(image, torch.zeros_like(depth)), model(image))
    again = segkit.load(segkit.save(model, tmp_path / "saved"))
    assert torch.equal(again(image, depth), model(image, depth))


def dict_of_files():
    return {TITLE.match(text)[1]: text for _, text in PAGE.blocks if TITLE.match(text)}
