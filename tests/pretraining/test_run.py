"""What a pretraining run leaves, and what begins with its backbone."""

import csv
import itertools
import json
import multiprocessing
import os
import signal

import pytest
import torch
from safetensors.torch import load_file

import segkit
from segkit.classification.prediction import classify
from segkit.data.synthetic import draw_cells
from segkit.errors import DataError, RecipeError, UsageError
from segkit.pretraining.allotted_time import AllottedTime
from segkit.pretraining.module import PretrainModule
from segkit.pretraining.run import pretrain
from segkit.recipe import Recipe
from segkit.sections import OptimisationRecipe
from segkit.training.optimizer import parameter_groups

LEARNS = {"epochs": 6, "learning_rate": 0.01, "warmup": 0.1}
CHANGES = [{"precision": "bf16"}, {"gradient_checkpointing": True}, {"layer_decay": 0.5}]
WHOLE = {"crop": None, "flip": 0.5}


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture
def run(recipe, colours, out):
    """A run of six epochs; made once for the module."""
    if not (out / "tiny" / "done").exists():
        found = pretrain(recipe(train=LEARNS, augment=WHOLE), colours, out=out, console=False)
        (out / "tiny" / "done").write_text(json.dumps(found.metrics))
        assert not found.interrupted
        assert found.directory == out / "tiny"
        assert found.backbone == out / "tiny" / "backbone.safetensors"
        assert isinstance(found.model, segkit.Classifier)
        assert not found.model.training
    return out / "tiny"


def test_it_learns_and_leaves_a_row_an_epoch(run):
    rows = list(csv.DictReader((run / "metrics.csv").open()))
    assert list(rows[0]) == [
        *("epoch", "updates", "seconds", "learning_rate", "loss", "train_top1"),
        *("validation_loss", "top1", "top5", "images_per_second"),
    ]
    assert [int(row["epoch"]) for row in rows] == [1, 2, 3, 4, 5, 6]
    assert [int(row["updates"]) for row in rows] == [4, 8, 12, 16, 20, 24]
    assert float(rows[-1]["loss"]) < float(rows[0]["loss"])
    assert float(rows[-1]["learning_rate"]) < 0.001
    content = json.loads((run / "metrics.json").read_text())
    assert [str(row["top1"]) for row in content["epochs"]] == [row["top1"] for row in rows]
    assert content["final"] == json.loads((run / "done").read_text())
    assert content["final"]["top1"] == pytest.approx(max(float(row["top1"]) for row in rows), abs=1e-6)
    assert content["final"]["top1"] > 0.6


def test_its_folder_holds_what_it_should(run):
    names = {path.name for path in run.iterdir()} - {"done"}
    files = ["backbone.safetensors", "confusion.csv", "confusion.png", "curves.png", "log.txt", "metrics.csv"]
    assert names == {*files, "metrics.json", "model", "recipe.yaml", "tensorboard"}
    for picture in ("confusion.png", "curves.png"):
        assert (run / picture).read_bytes().startswith(b"\x89PNG")
    confusion = list(csv.reader((run / "confusion.csv").open()))
    right = sum(int(row[i + 1]) for i, row in enumerate(confusion[1:]))
    assert right / 12 == pytest.approx(json.loads((run / "done").read_text())["top1"])
    log = (run / "log.txt").read_text()
    assert "epoch 6/6  loss " in log
    assert "  validation loss " in log
    assert " images/s  " in log
    assert "12 images of val to validate on" in log


def test_its_model_loads_and_says_the_same(run, colours):
    model = segkit.load(run / "model")
    state = load_file(run / "backbone.safetensors")
    own = model.backbone.state_dict()
    assert state.keys() == own.keys()
    assert all(torch.equal(state[name], own[name]) for name in own)
    said = classify(model, sorted((colours / "val").rglob("*.png")), precision="fp32")
    right = sum(each.label == each.name.split("/")[-2] for each in said) / 12
    assert right == pytest.approx(model.about["metrics"]["top1"], abs=1e-6)
    assert model.about["trained_on"]["recipe"] == "tiny"
    assert model.about["trained_on"]["finished"] is True


@pytest.mark.parametrize(
    "model",
    [
        {"model": {"backbone": "SWIN"}},
        {"model": {"backbone": "SWIN", "depth": "SWIN"}},
        {"ensemble": {"members": [{"name": "a", "backbone": "SWIN"}, {"name": "b", "backbone": {"name": "stem"}}]}},
    ],
    ids=["alone", "bridged", "ensemble"],
)
def test_a_segmenters_recipe_begins_with_its_backbone(run, recipe, model, tmp_path, monkeypatch):
    """Its weights are those in the first step, to the bit; where it is bridged, of depth too."""
    swin = {**recipe().model.backbone.model_dump(), "weights": str(run / "backbone.safetensors")}
    for section in [model.get("model"), *model.get("ensemble", {}).get("members", [])]:
        for key in ("backbone", "depth"):
            if section is not None and section.get(key) == "SWIN":
                section[key] = {**swin, "weights": "colour"} if key == "depth" else swin
    seen = []

    def first_step(module, batch, _index):
        seen.append({name: tensor.clone() for name, tensor in module.segmenter.backbone.state_dict().items()})
        raise DataError("seen")

    monkeypatch.setattr("segkit.training.module.TrainingModule.training_step", first_step)
    cells = draw_cells(tmp_path / "cells", images=6, size=32)
    settings = {"data": {"crop": 16}, "train": {"epochs": 1, "batch": 2, "workers": 0, "precision": "fp32"}}
    for section in [model.get("model"), *model.get("ensemble", {}).get("members", [])]:
        if section is not None:
            section["neck"] = {"name": "fpn", "width": 8}
    with pytest.raises(DataError, match="seen"):
        segkit.train(Recipe.model_validate({"name": "s", **model, **settings}), cells, out=tmp_path, console=False)
    (found,) = seen
    prefix = "colour." if any(name.startswith("colour.") for name in found) else ""
    for name, tensor in load_file(run / "backbone.safetensors").items():
        assert torch.equal(found[prefix + name], tensor)
    if prefix:
        depth = [tensor for key, tensor in found.items() if key.startswith("depth.") and key.endswith("qkv.weight")]
        colour = [tensor for key, tensor in found.items() if key.startswith("colour.") and key.endswith("qkv.weight")]
        assert depth
        assert all(torch.equal(a, b) for a, b in zip(depth, colour, strict=True))


def test_ctrl_c_leaves_a_model_that_loads_and_resume_goes_on(recipe, colours, tmp_path, monkeypatch):
    steps, plain = [], PretrainModule.training_step

    def interrupted(module, batch, index):
        steps.append(index)
        if len(steps) == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return plain(module, batch, index)

    monkeypatch.setattr(PretrainModule, "training_step", interrupted)
    stopped = pretrain(recipe(), colours, out=tmp_path, console=False)
    assert stopped.interrupted
    assert len(steps) == 3
    assert stopped.metrics == {}
    assert "stopping after this step" in (stopped.directory / "log.txt").read_text()
    model = segkit.load(stopped.directory / "model")
    assert model.about["trained_on"]["finished"] is False
    state = load_file(stopped.backbone)
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.backbone.state_dict().items())
    assert (stopped.directory / "checkpoints").is_dir()
    monkeypatch.setattr(PretrainModule, "training_step", plain)
    ended = pretrain(recipe(), colours, out=tmp_path, resume=True, console=False)
    assert ended.directory == stopped.directory
    assert not ended.interrupted
    assert not (ended.directory / "checkpoints").exists()


def test_ctrl_c_before_any_validation_with_early_stopping_keeps_what_was_learnt(recipe, colours, tmp_path, monkeypatch):
    plain = PretrainModule.training_step

    def interrupted(module, batch, index):
        os.kill(os.getpid(), signal.SIGINT)
        return plain(module, batch, index)

    monkeypatch.setattr(PretrainModule, "training_step", interrupted)
    stopped = pretrain(recipe(train={"early_stopping": 3}), colours, out=tmp_path, console=False)
    assert stopped.interrupted
    assert segkit.load(stopped.directory / "model").about["trained_on"]["finished"] is False


def test_the_last_epoch_is_validated_whatever_its_number(recipe, colours, tmp_path):
    run = pretrain(recipe(train={"epochs": 5, "validate_every": 3}), colours, out=tmp_path, console=False)
    rows = json.loads((run.directory / "metrics.json").read_text())["epochs"]
    assert [row["epoch"] for row in rows if row.get("top1") is not None] == [3, 5]


def test_last_weights_that_are_not_finite_are_not_kept(recipe, colours, tmp_path, monkeypatch):
    plain = PretrainModule.on_train_epoch_end if hasattr(PretrainModule, "on_train_epoch_end") else None
    assert plain is not None

    def spoilt(module):
        with torch.no_grad():
            next(module.network.parameters()).fill_(float("nan"))
        plain(module)

    monkeypatch.setattr(PretrainModule, "on_train_epoch_end", spoilt)
    settings = recipe(data={"validate_on": None}, train={"keep": "last", "epochs": 1, "ema": None})
    with pytest.raises(RecipeError, match=r"the last weights are not finite; lower train.learning_rate"):
        pretrain(settings, colours, out=tmp_path, console=False)


def test_images_larger_than_the_backbone_takes_are_told(recipe, colours, tmp_path):
    fixed = {"name": "timm:visformer_tiny", "img_size": 64}
    with pytest.raises(RecipeError, match=r"takes images up to 64×64, got 96×96"):
        pretrain(recipe(data={"size": 96}, model={"backbone": fixed}), colours, out=tmp_path, console=False)


def test_an_epoch_that_breaks_off_leaves_no_process(recipe, colours, tmp_path, monkeypatch):
    def breaks(_module, _batch, _index):
        assert multiprocessing.active_children()
        raise DataError("seen")

    monkeypatch.setattr(PretrainModule, "training_step", breaks)
    settings = recipe(data={"cache": False}, train={"workers": 1})
    with pytest.raises(DataError, match="seen") as held:
        pretrain(settings, colours, out=tmp_path, console=False)
    assert not multiprocessing.active_children()
    assert held.value.__traceback__ is not None  # which has all that ran


def test_minutes_end_it_and_bring_the_rate_to_its_end(recipe, colours, tmp_path, monkeypatch):
    seconds = itertools.count()
    monkeypatch.setattr(AllottedTime, "spent", property(lambda _clock: next(seconds)))
    train = {"epochs": 100000, "minutes": 1, "validate_every": 1000}
    found = pretrain(recipe(train=train), colours, out=tmp_path, console=False)
    assert not found.interrupted
    rows = list(csv.DictReader((found.directory / "metrics.csv").open()))
    assert 2 < len(rows) < 20
    assert rows[-1]["top1"] != ""  # whichever epoch it ended in
    assert float(rows[-1]["learning_rate"]) < 0.1 * max(float(row["learning_rate"]) for row in rows)


def test_without_validation_the_last_weights_are_kept(recipe, colours, tmp_path):
    settings = recipe(data={"validate_on": None}, train={"keep": "last", "epochs": 1})
    found = pretrain(settings, colours, out=tmp_path, console=False)
    assert found.metrics == {}
    assert "the last weights are kept" in (found.directory / "log.txt").read_text()
    assert not (found.directory / "confusion.csv").exists()
    (row,) = csv.DictReader((found.directory / "metrics.csv").open())
    assert "top1" not in row


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_other_ways_to_train(recipe, colours, tmp_path, change):
    found = pretrain(recipe(train={"epochs": 1, "accumulate": 3, **change}), colours, out=tmp_path, console=False)
    (row,) = csv.DictReader((found.directory / "metrics.csv").open())
    assert row["updates"] == "2"  # of 4 steps
    assert float(row["loss"]) > 0


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU computes it")
def test_fp16_is_for_gpus(recipe, colours, tmp_path):
    with pytest.raises(RecipeError, match="fp16: processors don't compute it; take bf16, fp32 or auto"):
        pretrain(recipe(train={"precision": "fp16"}), colours, out=tmp_path, console=False)


def test_a_loss_that_is_not_finite_is_an_error(recipe, colours, tmp_path, monkeypatch):
    plain = PretrainModule.training_step
    monkeypatch.setattr(PretrainModule, "training_step", lambda *given: plain(*given) * float("nan"))
    with pytest.raises(RecipeError, match=r"the loss is nan in epoch 1, training diverged; lower train.learning_rate"):
        pretrain(recipe(train={"keep": "last"}), colours, out=tmp_path, console=False)


def test_a_batch_too_small_for_batch_statistics_is_told(recipe, colours):
    from segkit.pretraining.classify import create

    settings = recipe(data={"path": str(colours)}, model={"backbone": "resnet18"}, train={"batch": 1})
    objective = create(settings, torch.device("cpu"))
    objective.prepare()
    module = PretrainModule(objective, settings.train, updates=1)
    with pytest.raises(RecipeError, match=r"a batch of 1 is too few for BatchNorm.* train.batch of 2 or more"):
        module.training_step(next(iter(objective.epoch(0))), 0)


def test_what_is_missing_is_said(recipe, tmp_path, colours):
    with pytest.raises(UsageError, match="no data given; name their folder or file: segkit pretrain RECIPE --data"):
        pretrain(recipe(), out=tmp_path)
    with pytest.raises(DataError, match="nowhere: no such file or folder"):
        pretrain(recipe(), tmp_path / "nowhere", out=tmp_path)
    with pytest.raises(UsageError, match=r"nothing to resume: there is no .*tiny; leave --resume out"):
        pretrain(recipe(), colours, out=tmp_path, resume=True)
    assert not list(tmp_path.iterdir())


def test_weights_decay_and_norms_do_not_and_the_optimiser_is_fused(recipe, colours):
    from segkit.pretraining.classify import create

    objective = create(recipe(data={"path": str(colours)}), torch.device("cpu"))
    train = OptimisationRecipe(weight_decay=0.05, learning_rate=3e-4)
    configured = PretrainModule(objective, train, updates=10).configure_optimizers()["optimizer"]
    groups = {group["name"]: group for group in configured.param_groups}
    assert (groups["decay"]["weight_decay"], groups["no_decay"]["weight_decay"]) == (0.05, 0.0)
    assert all(group["fused"] for group in groups.values())
    names = {id(parameter): name for name, parameter in objective.model.named_parameters()}
    decayed = {names[id(parameter)] for parameter in groups["decay"]["params"]}
    assert "head.weight" in decayed
    assert not [name for name in decayed if "norm" in name or "bias" in name]
    assert len(parameter_groups(objective.model, 0.05)) == 2
