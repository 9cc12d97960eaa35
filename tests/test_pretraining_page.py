"""The page on pretraining: its files, commands and code, in order, on a few small drawings."""

import json
import re

import pytest
import yaml
from page_blocks import Page

import segkit.data.synthetic
import segkit.pretraining.run
import segkit.training.run

PAGE = Page("pretraining.md")
FEW = {
    'IMAGES = {"train": 250, "val": 40, "test": 80}': 'IMAGES = {"train": 12, "val": 4, "test": 4}',
    'SCENES = {"train": 16, "val": 16, "test": 64}': 'SCENES = {"train": 4, "val": 2, "test": 2}',
}
SMALL = {"name": "swin", "embed_dim": 8, "depths": [1, 1], "heads": [1, 2], "window": 3}
SHORT = ["train.epochs=1", "train.batch=8", "train.workers=0"]


def smaller(values):
    """The same recipe of smaller networks."""
    for key in ("backbone", "depth"):
        if key in values.get("model", {}):
            named = values["model"][key]
            own = {"weights": named["weights"]} if isinstance(named, dict) and "weights" in named else {}
            values["model"][key] = {**SMALL, **own}
    return values


@pytest.fixture
def reader(tmp_path, monkeypatch):
    """An empty folder; what is drawn in it is small, and training takes seconds."""
    monkeypatch.chdir(tmp_path)
    draw = segkit.data.synthetic.draw_cells
    train, pretrain = segkit.training.run.train, segkit.pretraining.run.pretrain
    monkeypatch.setattr(
        "segkit.data.synthetic.draw_cells",
        lambda folder, **options: draw(folder, **{**options, "images": 15, "size": 48}),
    )
    monkeypatch.setattr(
        "segkit.training.run.train",
        lambda recipe, data=None, overrides=(), **options: train(
            recipe, data, [*(each for each in overrides if "backbone" not in each), *SHORT, "data.crop=32"], **options
        ),
    )
    monkeypatch.setattr(
        "segkit.pretraining.run.pretrain",
        lambda recipe, data=None, overrides=(), **options: pretrain(recipe, data, [*overrides, *SHORT], **options),
    )
    return tmp_path


def shorter(title, text):
    """The same file of few drawings and small networks."""
    for line, few in FEW.items():
        assert title != "shapes.py" or line in text
        text = text.replace(line, few)
    return yaml.safe_dump(smaller(yaml.safe_load(text))) if title.endswith(".yaml") else text


def test_the_page_from_its_first_line_to_its_last(reader, capsys):
    small = yaml.safe_dump(SMALL, default_flow_style=True).strip()
    session = PAGE.follow(
        capsys, files=shorter, words=lambda words: [small if word == "resnet18" else word for word in words]
    )
    said = capsys.readouterr().out
    assert said.count("nearest neighbours") == 4
    listed = re.search(r"runs/shapes/\n(.*?)```", PAGE.text, re.DOTALL)[1]
    for name in re.findall(r"\w+\.(?:\w+)|model/", listed):
        assert (reader / "runs" / "shapes" / name).exists(), name
    assert json.loads((reader / "probe.json").read_text())["level"]["index"] == 1
    assert session["found"].metrics["scored_on"]["splits"] == "val"


def test_its_recipes_are_valid_as_they_stand():
    from segkit.pretraining.recipe import PretrainRecipe
    from segkit.recipe import Recipe

    recipes = [yaml.safe_load(text) for kind, text in PAGE.blocks if kind == "yaml"]
    assert len(recipes) == 6
    for values in recipes:
        objective = {"classify", "colour_depth", "captions"} & values.keys()
        (PretrainRecipe if objective else Recipe).model_validate(values)
