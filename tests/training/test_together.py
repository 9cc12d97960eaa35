"""Members trained in one pass over the data: each becomes what it would become alone."""

import os
import signal

import pytest
import torch

import segkit
from segkit.errors import RecipeError
from segkit.recipe import Recipe
from segkit.recipe_file import load_recipe
from segkit.training.run import train

SWIN = {"backbone": {"name": "swin", "embed_dim": 8, "depths": [2, 2], "heads": [1, 2], "drop_path": 0.3}}


def recipe(*members, **train_changes):
    parts = {
        "swin": {"name": "swin", **SWIN, "neck": {"name": "fpn", "width": 8}},
        "stem": {
            "name": "stem",
            "backbone": {"name": "stem", "width": 4},
            "neck": {"name": "unet", "widths": [4]},
            "train": {"learning_rate": 0.003},
        },
    }
    return Recipe.model_validate(
        {
            "name": "joint",
            "ensemble": {"members": [parts[name] for name in members], "joint": True},
            "data": {"crop": 32, "augment": "light"},
            "train": {"epochs": 3, "batch": 3, "workers": 0, "precision": "fp32", "ema": 0.5, **train_changes},
            "predict": {"tile": 32},
        }
    )


def quietly(asked, cells, out, **options):
    return train(asked, cells, out=out, console=False, **options)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_each_member_is_as_if_trained_alone(cells, tmp_path, accumulate):
    together = quietly(recipe("swin", "stem", accumulate=accumulate), cells, tmp_path / "both")
    for place, name in enumerate(together.model.names):
        # Alone it is the first member, so that its own number is that of its place; the crops are those of seed 0.
        asked = load_recipe(recipe(name, accumulate=accumulate), [f"train.seed={place}", "train.data_seed=0"])
        alone = quietly(asked, cells, tmp_path / name).model.members[0].state_dict()
        for key, tensor in together.model.members[place].state_dict().items():
            torch.testing.assert_close(tensor, alone[key], atol=1e-5, rtol=1e-5, msg=f"{name} {key}")


def test_one_member_alone_is_the_plain_training(cells, tmp_path):
    joint = quietly(recipe("swin"), cells, tmp_path / "joint")
    plain = quietly(load_recipe(recipe("swin"), ["ensemble.joint=false"]), cells, tmp_path / "plain")
    for key, tensor in joint.model.state_dict().items():
        assert torch.equal(tensor, plain.model.state_dict()[key]), key


def test_every_member_has_its_tables(cells, tmp_path):
    run = quietly(recipe("swin", "stem"), cells, tmp_path)
    for name in ("swin", "stem"):
        rows = (run.directory / "members" / name / "metrics.csv").read_text().splitlines()
        assert len(rows) == 4
        assert rows[1].split(",")[1] == "2"  # updates of eight pictures in threes, the last two left out
        assert (run.directory / "members" / name / "curves.png").stat().st_size
        assert list((run.directory / "members" / name / "samples").iterdir())


def test_a_joint_training_that_was_stopped_goes_on(cells, tmp_path, monkeypatch):
    whole = quietly(recipe("swin", "stem", deterministic=True), cells, tmp_path / "whole")
    from segkit.training import checkpoint

    def write_and_die(saved):
        real(saved)
        if saved.epoch == 2:
            raise KeyboardInterrupt

    real = checkpoint.write_checkpoint
    monkeypatch.setattr(checkpoint, "write_checkpoint", write_and_die)
    monkeypatch.setattr(checkpoint.Allowance, "due", True)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        quietly(recipe("swin", "stem", deterministic=True), cells, tmp_path / "killed")
    monkeypatch.setattr(checkpoint, "write_checkpoint", real)
    again = quietly(recipe("swin", "stem", deterministic=True), cells, tmp_path / "killed", resume=True)
    assert "resumed at epoch 3" in (again.directory / "log.txt").read_text()
    for key, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, again.model.state_dict()[key]), key
    assert segkit.load(again.directory / "model").names == ("swin", "stem")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("ensemble.members.1.train={epochs: 5}", "train.epochs of 'stem' isn't that of 'swin'"),
        ("ensemble.members.1.data={crop: 16}", "data.crop of 'stem' isn't that of 'swin'"),
        ("ensemble.members.1.boost=1", "leave boost and folds out"),
        ("folds=2", "leave boost and folds out"),
        ("train.early_stopping=3", "leave train.early_stopping out"),
    ],
)
def test_members_of_different_batches_are_not_trained_together(override, message):
    with pytest.raises(RecipeError, match=f"ensemble.joint: .*{message}"):
        load_recipe(recipe("swin", "stem"), [override])


def test_a_member_that_diverges_ends_alone(cells, tmp_path, monkeypatch):
    from segkit.training.module import TrainingModule

    real = TrainingModule.training_step

    def diverging(self, batch, index):
        loss = real(self, batch, index)
        swin = any("Swin" in type(module).__name__ for module in self.segmenter.modules())
        return loss * float("nan") if swin and self.trainer.current_epoch == 1 else loss

    monkeypatch.setattr(TrainingModule, "training_step", diverging)
    with pytest.raises(RecipeError, match=r"swin \(1/2\): the loss is nan in epoch 2.*; the other members are in"):
        quietly(recipe("swin", "stem", keep="last"), cells, tmp_path)
    rows = (tmp_path / "joint" / "members" / "stem" / "metrics.csv").read_text().splitlines()
    assert len(rows) == 4
    assert segkit.load(tmp_path / "joint" / "members" / "stem" / "model").about["trained_on"]["finished"]
    assert not (tmp_path / "joint" / "members" / "swin" / "model").exists()


def test_each_member_has_its_own_events(cells, tmp_path):
    run = quietly(recipe("swin", "stem"), cells, tmp_path)
    for name in ("swin", "stem"):
        assert list((run.directory / "members" / name / "tensorboard").glob("events*"))


def test_ctrl_c_ends_all_members(cells, tmp_path, monkeypatch):
    from segkit.training.module import TrainingModule

    real = TrainingModule.training_step

    sent = []

    def interrupted(self, batch, index):
        if self.trainer.current_epoch == 1 and not sent:
            sent.append(True)
            os.kill(os.getpid(), signal.SIGINT)
        return real(self, batch, index)

    with monkeypatch.context() as patch:
        patch.setattr(TrainingModule, "training_step", interrupted)
        run = quietly(recipe("stem", "swin", keep="last", epochs=6), cells, tmp_path)
    assert run.interrupted
    assert not run.model.about["trained_on"]["finished"]
    for name in run.model.names:
        assert len((run.directory / "members" / name / "metrics.csv").read_text().splitlines()) <= 3
