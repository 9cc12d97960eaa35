"""``segkit ensemble`` of models that give whole images a label."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from segkit import load, save
from segkit.classification.classifier import Classifier
from segkit.classification.ensemble import ClassifierEnsemble
from segkit.classification.joint import JointClassifier
from segkit.cli.main import main
from segkit.labelled.view import View
from segkit.model import Segmenter

STEM = {"name": "stem", "width": 4, "depth": 2}


@pytest.fixture
def shapes(tmp_path, monkeypatch):
    """Two runs' classifiers, a segmenter, and pictures of two classes."""
    random = np.random.default_rng(0)
    for split in ("train", "val", "test"):
        for level, name in ((60, "dark"), (180, "light")):
            (tmp_path / "shades" / split / name).mkdir(parents=True)
            for number in range(4):
                pixels = random.integers(level - 40, level + 40, (12, 12, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / "shades" / split / name / f"{number}.png")
    for seed, name in enumerate(("a", "b")):
        torch.manual_seed(seed)
        model = Classifier.create(STEM, classes=["dark", "light"], view=View(size=(12, 12)))
        save(model, tmp_path / "runs" / name / "model")
    segmenter = Segmenter.create({"name": "stem", "width": 4}, neck="unet", classes=["dark", "light"])
    save(segmenter, tmp_path / "masks")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_mean_of_two_is_named_after_their_runs(shapes, capsys):
    assert main(["ensemble", "runs/a/model", "runs/b/model", "-o", "both"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("2 members, combined by mean\n")
    assert out.endswith("ensemble saved in both\n")
    ensemble = load("both")
    assert isinstance(ensemble, ClassifierEnsemble)
    assert ensemble.names == ("a", "b")
    image = torch.rand(1, 3, 12, 12)
    with torch.no_grad():
        parts = [load(f"runs/{name}/model").probabilities(image) for name in "ab"]
        torch.testing.assert_close(ensemble(image), (parts[0] + parts[1]) / 2)
    assert main(["ensemble", "both", "runs/a/model", "-o", "three"]) == 0
    assert load("three").names == ("a", "b", "a-2")


@pytest.mark.parametrize("weights", ["score", "member", "class", "early"])
def test_what_is_fitted_is_printed_and_evaluates(shapes, capsys, weights):
    command = f"ensemble runs/a/model runs/b/model --fit shades --weights {weights} -o fitted"
    assert main([*command.split(), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["names"] == ["a", "b"]
    assert set(printed["alone"]) == {"a", "b"}
    assert printed["score"] == "top-1 on val"
    assert isinstance(load("fitted"), JointClassifier if weights == "early" else ClassifierEnsemble)
    if weights in ("member", "class", "early"):
        assert printed["notes"][0].startswith(f"{weights}: loss on ")
    assert main(["evaluate", "fitted", "shades", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["images"] == 8
    assert main(["predict", "fitted", "shades/test/dark", "-o", "labels"]) == 0


def test_the_inside_of_an_ensemble_is_shown(shapes, capsys):
    assert main(["ensemble", "runs/a/model", "runs/b/model", "-o", "both"]) == 0
    assert main(["ensemble", "inspect", "both", "shades", "-o", "inside"]) == 0
    out = capsys.readouterr().out
    assert "top-1, on test of shades" in out
    assert (shapes / "inside" / "agreement.png").is_file()


@pytest.mark.parametrize(
    ("command", "code", "message"),
    [
        ("ensemble runs/a/model -o x", 2, "at least two members"),
        ("ensemble runs/a/model masks -o x", 3, "masks: no classifier; an ensemble's members all draw masks, or all"),
        ("ensemble runs/a/model runs/b/model --weights gate --fit shades -o x", 2, "--weights gate: looks at pixels"),
        ("ensemble runs/a/model runs/b/model --tile 64 -o x", 2, "--tile: is of masks"),
        (
            "ensemble runs/a/model runs/b/model --weights early --mean-of logits --fit shades -o x",
            2,
            "--mean-of: a joint head",
        ),
        ("ensemble masks masks --weights early --fit shades -o x", 2, "--weights early: a joint head on classifiers'"),
        ("ensemble inspect runs/a/model shades -o shades/inside", 2, "lies in the dataset, whose folders are classes"),
        ("ensemble inspect runs/a/model", 3, "runs/a/model: no ensemble whose members can be looked at"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(shapes, capsys, command, code, message):
    assert main(command.split()) == code
    assert message in capsys.readouterr().err
