"""``segkit pretrain``, and what other commands know of its recipes."""

import json
import subprocess
import sys

import pytest
import yaml
from pretraining.conftest import SWIN, draw_colours

from segkit.cli.main import main
from segkit.data.synthetic import draw_cells

TINY = {
    "name": "tiny",
    "data": {"size": 12},
    "model": {"backbone": SWIN},
    "classify": {},
    "train": {"epochs": 1, "batch": 8, "workers": 0},
}

PAIRS = {
    "name": "pairs",
    "data": {"path": "cells", "size": 40, "normalisation": "imagenet", "cache": False},
    "model": {"backbone": SWIN, "depth": SWIN},
    "colour_depth": {
        "dim": 8,
        "points": 6,
        "radius": 4,
        "shift": 8,
        "encoding": {"name": "metres", "per_picture": True},
    },
    "train": {"epochs": 2, "batch": 2, "workers": 2, "precision": "fp32"},
}


@pytest.fixture
def place(tmp_path, monkeypatch):
    draw_colours(tmp_path / "colours", train=4, val=2)
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(TINY))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_it_prints_pure_json_and_the_backbone_is_there(place, capsys):
    assert main(["pretrain", "tiny.yaml", "train.ema=null", "--data", "colours", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["directory"], printed["interrupted"]) == ("runs/tiny", False)
    assert (place / printed["backbone"]).is_file()
    assert set(printed["metrics"]) == {"validation_loss", "top1", "top5"}
    assert "ema: null" in (place / "runs" / "tiny" / "recipe.yaml").read_text()


def test_it_tells_what_it_does(place, capsys):
    assert main(["pretrain", "tiny.yaml", "--data", "colours", "--out", "elsewhere"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("tiny: classify with swin; writing to elsewhere/tiny\n")
    assert "epoch 1/1  loss " in told
    assert told.endswith(" minutes saved in elsewhere/tiny\n")


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ("nothing", 2, "no recipe 'nothing'"),
        ("demo", 2, "recipe 'demo' is for segkit train, not segkit pretrain"),
        ("tiny.yaml classify.mixx=1", 2, "tiny.yaml: classify.mixx: no such key; did you mean 'mix'?"),
        ("tiny.yaml", 2, "no data given; name their folder or file: segkit pretrain RECIPE --data PATH"),
        ("tiny.yaml --data nowhere", 3, "nowhere: no such file or folder"),
        ("tiny.yaml --data colours --resume", 2, "nothing to resume: there is no runs/tiny"),
        ("tiny.yaml --data colours --out tiny.yaml", 2, "tiny.yaml: can't "),
    ],
)
def test_mistakes_are_one_line(place, capsys, words, code, message):
    assert main(["pretrain", *words.split()]) == code
    err = capsys.readouterr().err
    assert err.startswith(f"error: {message}")
    assert err.count("\n") == 1


def test_train_sends_its_recipes_there(place, capsys):
    assert main(["train", "swin_cifar10", "--data", "colours"]) == 2
    assert "recipe 'swin_cifar10' is for segkit pretrain, not segkit train" in capsys.readouterr().err


def test_config_shows_its_recipes_and_their_schema(place, capsys):
    assert main(["config", "show", "swin_cifar10", "train.epochs=7"]) == 0
    shown = yaml.safe_load(capsys.readouterr().out)
    assert (shown["train"]["epochs"], shown["augment"]["crop"]["pad"]) == (7, 4)
    assert main(["config", "show", "tiny.yaml"]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["classify"]["label_smoothing"] == 0.1
    assert main(["config", "schema", "--pretraining"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert {"classify", "colour_depth", "captions"} < set(schema["properties"])
    assert main(["config", "schema"]) == 0
    assert "classify" not in json.loads(capsys.readouterr().out)["properties"]


def test_models_lists_its_recipes(capsys):
    assert main(["models", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert {"swin_cifar10", "swin_tiny_imagenet"} <= set(listed["pretraining_recipes"])
    assert "swin_cifar10" not in listed["recipes"]


@pytest.mark.slow
@pytest.mark.parametrize("damaged", [False, True])
def test_processes_that_read_pairs_end_with_the_command(tmp_path, damaged):
    """They answer no signal, and Python waits as it ends for those that are left."""
    cells = draw_cells(tmp_path / "cells", images=10, size=48, splits=(0.6, 0.3, 0.1))
    (tmp_path / "pairs.yaml").write_text(yaml.safe_dump(PAIRS))
    if damaged:
        picture = cells / "images" / "cells_000.png"
        picture.write_bytes(picture.read_bytes()[:200])
    words = [sys.executable, "-m", "segkit", "pretrain", "pairs.yaml", "--json"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    if not damaged:
        assert (done.returncode, json.loads(done.stdout)["interrupted"]) == (0, False), done.stderr
    else:
        assert (done.returncode, done.stdout) == (3, "")
        assert done.stderr.count("\n") == 1
        assert "cells_000.png" in done.stderr
