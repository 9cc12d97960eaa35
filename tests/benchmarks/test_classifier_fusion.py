"""What the benchmark of fused classifiers writes down, and that it makes nothing twice."""

import importlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import segkit
from segkit.classification.classifier import Classifier
from segkit.labelled.view import View


@pytest.fixture
def fusion(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    found = importlib.import_module("classifier_fusion")
    monkeypatch.setattr(found, "RESULTS", tmp_path / "results.json")
    return found


@pytest.fixture
def shades(tmp_path):
    random = np.random.default_rng(0)
    for split in ("train", "val", "test"):
        for level, name in ((60, "dark"), (180, "light")):
            (tmp_path / "shades" / split / name).mkdir(parents=True)
            for number in range(4):
                pixels = random.integers(level - 40, level + 40, (12, 12, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / "shades" / split / name / f"{number}.png")
    return tmp_path / "shades"


def test_every_system_has_a_row_and_none_is_made_twice(fusion, shades, tmp_path, monkeypatch, capsys):
    def trained(bench, name):
        torch.manual_seed(len(name))
        model = Classifier.create(
            {"name": "stem", "width": 4, "depth": 2}, classes=["dark", "light"], view=View(size=(12, 12))
        )
        return segkit.save(model, tmp_path / name)

    monkeypatch.setattr(fusion.Bench, "trained", trained)
    fusion.Bench(shades, 0, tmp_path, 3).run()
    rows = fusion.read(fusion.RESULTS)
    systems = ["swin", "resnet50", "uniform", "score", "member", "class", "early"]
    assert list(rows) == [f"3 epochs, seed 0, {name}" for name in systems]
    for row in rows.values():
        assert 0 <= row["accuracy"] <= 1
        assert row["nll"] >= 0
    assert rows["3 epochs, seed 0, uniform"]["weights"] == [[0.5], [0.5]]
    assert {"nll as trained", "ece as trained"} <= rows["3 epochs, seed 0, swin"].keys()
    monkeypatch.setattr(fusion.Bench, "trained", None)
    fusion.Bench(shades, 0, tmp_path, 3).run()
    assert fusion.read(fusion.RESULTS) == rows


def test_means_and_deviations_are_over_the_seeds(fusion):
    benches = [fusion.Bench(Path("data"), seed, Path("runs"), 3) for seed in (0, 1)]
    rows = {
        bench.key(name): {"accuracy": accuracy, "nll": 1.0, "ece": 0.1}
        for bench, accuracy in zip(benches, (0.4, 0.6), strict=True)
        for name in (*fusion.MEMBERS, *fusion.WAYS)
    }
    found = fusion.over_seeds(rows, benches)
    assert found["early"]["accuracy"] == {"mean": 0.5, "std": 0.1414}
    line = " ".join(fusion.table(found).splitlines()[1].split())
    assert line == "swin 0.5000 ± 0.1414 1.0000 ± 0.0000 0.1000 ± 0.0000"
    assert fusion.over_seeds(rows, benches[:1])["early"]["nll"] == {"mean": 1.0, "std": None}


@pytest.mark.parametrize("name", ["swin", "resnet50"])
def test_members_are_what_they_are_called(fusion, name):
    backbone = fusion.MEMBERS[name]["backbone"]
    with torch.device("meta"):
        model = Classifier.create(backbone, classes=10)
        side = fusion.COMMON["data"]["size"]
        maps = model.backbone(torch.empty(1, 3, side, side))
    assert maps[-1].shape[2:] == ((4, 4) if name == "swin" else (2, 2))
