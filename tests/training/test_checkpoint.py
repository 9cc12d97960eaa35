from types import SimpleNamespace
from unittest.mock import MagicMock

import lightning as L
import pytest
import torch
from lightning.pytorch.plugins.precision import MixedPrecision

from segkit.errors import ModelError
from segkit.training import allowance, checkpoint
from segkit.training.checkpoint import Checkpoints, Saved, read_checkpoint, write_checkpoint
from segkit.training.directory import RunDirectory
from segkit.training.run import train


class Stop(BaseException):
    """What a test ends training with where a user's process would be killed."""


@pytest.fixture
def saved(tmp_path):
    parts = {"segmenter": {"weight": torch.arange(1000.0)}, "table": {"rows": [{"epoch": 1, "score": ""}]}}
    return Saved(tmp_path / "a" / "member.pt", 3, 12, parts)


@pytest.fixture
def written(monkeypatch):
    """The epochs after which a checkpoint was written, all of them if there is one after each."""
    monkeypatch.setattr(allowance, "PAUSE", 0)
    monkeypatch.setattr(allowance, "SHARE", float("inf"))
    epochs, whole = [], checkpoint.write_checkpoint
    monkeypatch.setattr(checkpoint, "write_checkpoint", lambda saved: epochs.append(saved.epoch) or whole(saved))
    return epochs


def test_what_was_written_is_read(saved):
    assert read_checkpoint(saved.path) is None
    write_checkpoint(saved)
    again = read_checkpoint(saved.path)
    assert (again.path, again.epoch, again.updates) == (saved.path, 3, 12)
    assert torch.equal(again.parts["segmenter"]["weight"], torch.arange(1000.0))
    assert again.parts["table"] == saved.parts["table"]


def test_damage_of_any_kind_is_told_from_a_checkpoint(saved):
    write_checkpoint(saved)
    whole = saved.path.read_bytes()
    middle = whole.index(torch.arange(1000.0).numpy().tobytes()) + 2000
    flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
    for content in (flipped, whole[:-100], whole[:middle], b"", b"not a zip"):
        saved.path.write_bytes(content)
        with pytest.raises(ModelError, match=r"member\.pt: this checkpoint can't be read .*; remove it, and --resume"):
            read_checkpoint(saved.path)


def test_nothing_in_a_checkpoint_is_executed(saved):
    class Harmful:
        def __reduce__(self):
            return pytest.fail, ("executed",)

    torch.save({"format": 1, "epoch": 1, "updates": 1, "parts": {"a": Harmful()}}, saved.path.parent.parent / "x.pt")
    with pytest.raises(ModelError, match=r"x\.pt: this checkpoint can't be read \(UnpicklingError"):
        read_checkpoint(saved.path.parent.parent / "x.pt")


def test_a_checkpoint_of_another_kind_is_refused(saved):
    saved.path.parent.mkdir()
    for content, reason in (({"format": 2}, "format 2, this segkit reads 1"), ([1], "TypeError")):
        torch.save(content, saved.path)
        with pytest.raises(ModelError, match=reason):
            read_checkpoint(saved.path)


def test_checkpoints_take_a_small_share_of_the_time(recipe, cells, tmp_path, monkeypatch, written):
    for pause, share, epochs in ((30, 0.005, []), (0, 1e-6, [1]), (0, float("inf"), [1, 2, 3])):
        monkeypatch.setattr(allowance, "PAUSE", pause)
        monkeypatch.setattr(allowance, "SHARE", share)
        train(recipe(members=("only",), train={"epochs": 4}), cells, out=tmp_path, console=False)
        assert written == epochs  # never after the last: the model itself is written then
        written.clear()


def test_a_full_disk_does_not_end_training(recipe, cells, tmp_path, monkeypatch, written):
    def full(*_):
        raise OSError("no space left")

    monkeypatch.setattr(torch, "save", full)
    run = train(recipe(members=("only",)), cells, out=tmp_path, console=False)
    assert "checkpoint not written: OSError: no space left" in (run.directory / "log.txt").read_text()


def test_a_checkpoint_of_another_model_is_refused(recipe, cells, tmp_path, monkeypatch, written):
    stopped(recipe(members=("only",)), cells, tmp_path, monkeypatch)
    (file,) = tmp_path.glob("tiny/checkpoints/*.pt")
    content = read_checkpoint(file)
    del content.parts["only segmenter"]["head.classify.bias"]
    write_checkpoint(content)
    with pytest.raises(ModelError, match=r"only\.pt: doesn't fit this model .*; remove it, and --resume begins"):
        train(recipe(members=("only",)), cells, out=tmp_path, resume=True, console=False)
    file.unlink()
    assert train(recipe(members=("only",)), cells, out=tmp_path, resume=True, console=False).metrics


def stopped(recipe, cells, out, monkeypatch):
    """Leave a run that ended after its first checkpoint."""
    with monkeypatch.context() as patch:
        patch.setattr(RunDirectory, "finish_member", lambda *_: throw())
        with pytest.raises(Stop):
            train(recipe, cells, out=out, console=False)


def throw():
    raise Stop


def test_a_run_that_began_in_another_arithmetic_goes_on_in_fp16(saved):
    plugin = MixedPrecision("16-mixed", "cpu")
    trainer = SimpleNamespace(
        lr_scheduler_configs=[],
        optimizers=[],
        lightning_module=L.LightningModule(),
        precision_plugin=plugin,
        fit_loop=MagicMock(),
    )
    saved.parts.clear()
    saved.parts["scaling"] = {}
    Checkpoints(saved.path, {}, saved, print).on_fit_start(trainer, trainer.lightning_module)
    assert plugin.scaler.state_dict()["scale"] == 65536
