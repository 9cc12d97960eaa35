"""CIFAR-10's benchmark from its command to its result, on a handful of small images."""

import importlib
import json
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from torch import nn

from segkit.pretraining.classify import ClassifyObjective
from segkit.pretraining.run import PretrainRun

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SMALL = ("model.backbone={name: swin, embed_dim: 8, depths: [1], heads: [1], window: 3}", "data.size=32")


@pytest.fixture
def cifar10(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(BENCHMARKS)
    module = importlib.import_module("cifar10")
    monkeypatch.setattr(module, "RESULTS", tmp_path / "results" / "cifar10.json")
    draw = np.random.default_rng(0)
    for split, count in (("train", 12), ("test", 3)):
        for label in ("cat", "dog"):
            (tmp_path / "data" / split / label).mkdir(parents=True)
            for number in range(count):
                pixels = draw.integers(0, 256, (16, 16, 3), np.uint8)
                cv2.imwrite(str(tmp_path / "data" / split / label / f"{number}.png"), pixels)

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["cifar10.py", "data", *SMALL, "train.batch=4", "train.workers=0", *words])
        module.main()
        return json.loads(module.RESULTS.read_text()) if module.RESULTS.is_file() else {}

    return run


def test_a_run_of_some_epochs(cifar10):
    found = cifar10("--epochs", "2")["cpu, epochs=2"]
    assert found["epochs"] == 2
    assert found["images per second"] > 0
    assert set(found["test"]) == {"top1", "top5", "nll", "ece"}
    assert found["overrides"][0] == "train.epochs=2"
    assert not any("mixup" in override for override in found["overrides"])


def test_a_run_of_some_time_suits_few_passes(cifar10):
    found = cifar10("--minutes", "0.02")["cpu, minutes=0.02"]
    assert "classify.mixup=0" in found["overrides"]
    assert 0 < found["minutes"] < 1


def test_a_piece_is_no_result(cifar10, monkeypatch, capsys):
    asked = {}

    def pretrain(recipe, data, overrides, **options):
        asked.update(options, recipe=recipe)
        return PretrainRun(Path("runs/swin_cifar10"), Path("backbone.safetensors"), nn.Identity(), {}, True)

    monkeypatch.setattr("segkit.pretraining.run.pretrain", pretrain)
    assert cifar10("--epochs", "300", "--piece", "8.5", "--resume") == {}
    assert "stopped after a piece; runs/swin_cifar10 goes on with --resume" in capsys.readouterr().out
    assert asked == {"recipe": "swin_cifar10", "out": Path("runs"), "resume": True}


def test_the_end_of_a_piece_is_what_ctrl_c_is(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012  # it comes at any point
        importlib.import_module("cifar10").end_after(0.001)
        time.sleep(5)


def test_time_and_epochs_are_not_given_together(cifar10, capsys):
    with pytest.raises(SystemExit):
        cifar10("--epochs", "1", "--minutes", "1")
    assert "--minutes or --epochs, not both" in capsys.readouterr().err


def test_a_run_that_was_stopped_goes_on_by_the_same_recipe(cifar10, monkeypatch):
    save = ClassifyObjective.save

    def stop(objective, run):
        save(objective, run)
        raise KeyboardInterrupt

    monkeypatch.setattr(ClassifyObjective, "save", stop)
    with pytest.raises(KeyboardInterrupt):
        cifar10("--epochs", "2")
    monkeypatch.setattr(ClassifyObjective, "save", save)
    assert cifar10("--epochs", "2", "--resume")["cpu, epochs=2"]["epochs"] == 2
