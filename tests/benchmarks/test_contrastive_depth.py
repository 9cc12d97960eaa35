"""What the benchmark of contrastive pretraining compares."""

import argparse
import importlib
from pathlib import Path

import pytest

import segkit
from segkit.contrasting.pairs import pair_samples
from segkit.data.reader import Reader
from segkit.data.synthetic import draw_cells


@pytest.fixture
def module(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    return importlib.import_module("contrastive_depth")


@pytest.fixture
def bench(module, tmp_path):
    data = draw_cells(tmp_path / "cells", images=40, size=32, splits=(0.8, 0.1, 0.1))
    given = {"tools": data, "seeds": [3], "only": [], "minutes": 1.0, "epochs": 2}
    return module.Bench(argparse.Namespace(**given, runs=tmp_path / "runs", results=tmp_path / "results.json"))


def test_segmenters_differ_in_their_first_weights_alone(bench, monkeypatch):
    monkeypatch.setattr(bench, "start", lambda seed: Path(f"space_{seed}"))
    for few in ("", "few "):
        scratch, started = (bench.segmentation(few + system, 3) for system in ("scratch", "pretrained"))
        assert started.model.backbone.model_dump()["weights"] == "space_3/backbone.safetensors"
        assert started.model.depth.model_dump()["weights"] == "space_3/depth.safetensors"
        for section in ("data", "loss", "train", "predict"):
            assert getattr(started, section) == getattr(scratch, section)
        assert started.model.model_copy(update={"backbone": None, "depth": None}) == scratch.model.model_copy(
            update={"backbone": None, "depth": None}
        )
        assert scratch.model.backbone.model_dump() == scratch.model.depth.model_dump() == {"name": "resnet18"}


def test_few_has_every_eighth_picture_and_as_many_crops(bench):
    folder = segkit.open_dataset(bench.fewer)
    assert folder.splits["train"] == bench.folder.splits["train"][::8]
    assert folder.splits["test"] == bench.folder.splits["test"]
    few, all_ = (bench.segmentation(system, 0).data for system in ("few scratch", "scratch"))
    assert few.train_on == ["train"]
    assert 4 * few.crops_per_image == len(bench.folder.samples(*all_.train_on))


def test_flat_depth_keeps_its_holes_and_nothing_else(bench, module):
    samples, reader = pair_samples(bench.folder, ["train"]), Reader(depth=bench.folder.depth_format, depth_channels=1)
    options = {"crop": None, "size": (32, 32), "depth": True}
    whole, flat = (kind(bench.folder, samples, reader, **options)[0, 1] for kind in (module.Whole, module.Flat))
    assert whole["depth"][0].unique().numel() > 10
    assert (flat["depth"][1] == whole["depth"][1]).all()
    assert (flat["depth"][0] == whole["depth"][1]).all()
