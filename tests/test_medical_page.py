"""The page on medical images: its files, commands and code, in order, on small drawn bodies."""

import re

import highdicom
import pytest
import yaml
from page_blocks import Page

import segkit
import segkit.medical.synthetic_volumes
import segkit.training.run
from segkit.data.window_names import NAMED

PAGE = Page("medical.md")
SMALL = {"shape": (32, 28, 8), "spacing": (10, 10, 20)}


@pytest.fixture
def reader(tmp_path, monkeypatch):
    """An empty folder; what is drawn in it is small, and training takes seconds."""
    monkeypatch.chdir(tmp_path)
    module = segkit.medical.synthetic_volumes
    draw_volumes, draw_study, train = module.draw_volumes, module.draw_study, segkit.training.run.train
    monkeypatch.setattr(module, "draw_volumes", lambda folder, **options: draw_volumes(folder, **options, **SMALL))
    monkeypatch.setattr(module, "draw_study", lambda folder, **options: draw_study(folder, **options, **SMALL))
    monkeypatch.setattr("segkit.suggestion.suggest.crops_per_second", lambda *_, **__: 20.0)
    monkeypatch.setattr(
        "segkit.training.run.train",
        lambda recipe, data=None, overrides=(), **options: train(
            recipe, data, [*overrides, "train.epochs=1", "train.workers=0", *SMALLER], **options
        ),
    )
    return tmp_path


SMALLER = ("model.backbone={name: stem, width: 4}", "model.neck={name: unet, widths: [4]}")


def test_the_page_from_its_first_line_to_its_last(reader, capsys):
    PAGE.follow(capsys)
    said = capsys.readouterr()
    assert "3 of 3 pictures predicted into masks" in said.out
    assert "left out: study/damaged.dcm" in said.err
    masks = sorted((reader / "masks").glob("*_mask.dcm"))
    assert len(masks) == 3
    for mask in masks:
        seg = highdicom.seg.segread(mask)
        assert [segment.SegmentLabel for segment in seg.SegmentSequence] == ["liver", "spleen"]
    assert {"index.html", "measures.csv", "measures.json"} <= {path.name for path in (reader / "masks").iterdir()}
    assert (reader / "one" / "body_019_mask.nii.gz").is_file()


def test_the_part_of_a_recipe_is_what_init_writes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("segkit.suggestion.suggest.crops_per_second", lambda *_, **__: 20.0)
    segkit.medical.synthetic_volumes.draw_volumes("bodies", cases=20)
    from segkit.suggestion.suggest import suggest

    (part,) = [yaml.safe_load(text) for kind, text in PAGE.blocks if kind == "yaml"]
    written = yaml.safe_load(suggest("bodies", hours=0.1).text)["data"]
    assert {key: written[key] for key in ("slices", "channels")} == {k: part["data"][k] for k in ("slices", "channels")}
    assert written["window"] == pytest.approx(part["data"]["window"], abs=1)


def test_windows_by_name_are_all_there():
    named = re.search(r"or a name from radiology: (.*?)\. It is kept", PAGE.text, re.DOTALL)[1]
    assert re.findall(r"`(\w+)`", named) == list(NAMED)
