"""Steps chosen on a split and kept with the model."""

import json

import pytest

import segkit
from segkit.choosing.run import fit_postprocessing
from segkit.cli.main import main
from segkit.errors import ModelError, UsageError
from segkit.postprocessing.settings import Postprocessing


def test_what_helps_is_kept_and_done(model, discs, tmp_path):
    own = model()
    found = fit_postprocessing(own, discs)
    kept = own.about["predict"]["postprocess"]
    assert kept == found.choice.settings.kept()
    assert kept["largest"] == ["cell"]
    assert own.about["postprocessed_on"] == {"dataset": "discs", "split": "val", "pictures": 10}
    assert own.about["predict"]["precision"] == "fp32"
    assert found.choice.before["cell"] < 0.95 < found.choice.after["cell"]
    segkit.save(own, tmp_path / "model")
    assert segkit.Predictor(segkit.load(tmp_path / "model")).postprocess == found.choice.settings
    report = segkit.evaluate(own, discs, "val").metrics
    assert report["mean_over_images"]["per_class"]["cell"]["dice"] == pytest.approx(found.choice.after["cell"])
    assert report["notes"] == ["the steps after it were chosen on split 'val' of discs: these scores favour it"]


def test_the_result_is_the_same_where_memory_holds_nothing(model, discs):
    calls = []
    held = fit_postprocessing(model(), discs, progress=lambda *each: calls.append(each))
    anew = fit_postprocessing(model(), discs, limit=0)
    assert held.choice == anew.choice
    assert [done for done, _, _ in calls] == list(range(1, len(calls) + 1))
    assert {total for _, total, _ in calls} == {90}
    assert len(calls) <= 90


def test_what_was_kept_before_is_replaced(model, discs):
    own = model(postprocess={"thresholds": 0.01})
    assert fit_postprocessing(own, discs).choice == fit_postprocessing(model(), discs).choice
    assert "thresholds" not in own.about["predict"]["postprocess"]


def test_nothing_is_kept_where_nothing_helps(model, discs):
    own = model(postprocess={"largest": True})
    own.about["postprocessed_on"] = {"dataset": "discs", "split": "val"}
    found = fit_postprocessing(own, discs, "one")
    assert found.choice.settings == Postprocessing()
    assert own.about["predict"]["postprocess"] is None
    assert "postprocessed_on" not in own.about
    assert "kept: nothing helps: masks are left as they are" in found.table()


def test_the_table_says_what_was_tried(model, discs):
    lines = fit_postprocessing(model(), discs).table().splitlines()
    assert lines[0].split() == ["step", "class", "best", "of", "mean", "Dice"]
    largest = next(line for line in lines if line.startswith("largest"))
    assert largest.split()[:3] == ["largest", "cell", "alone"]
    assert "  kept  mean Dice +" in largest
    assert lines[-2].startswith("kept: ")
    assert lines[-1].startswith("Dice, mean over the 10 cases that it was chosen on: cell 0.")


def test_a_judge_has_to_be_taught_again(model, discs):
    own = model()
    segkit.trust(own, discs, good=0.5, risk=0.4)
    (note,) = fit_postprocessing(own, discs).notes
    assert note == "the model was taught to judge its masks as they were: teach it again by segkit trust"
    assert segkit.Predictor(own).judge is None
    assert fit_postprocessing(own, discs).notes == ()


def test_what_was_trained_on_is_refused(model, discs):
    with pytest.raises(UsageError, match="the model was trained on split 'train' of discs"):
        fit_postprocessing(model(), discs, "val+train")
    ensemble = segkit.Ensemble([model(), model()], names=["one", "two"])
    with pytest.raises(UsageError, match="one was trained on split 'train' of discs"):
        fit_postprocessing(ensemble, discs, "train")
    other = segkit.Segmenter.create({"name": "stem", "width": 4}, neck="unet", classes=["a", "b", "c"])
    with pytest.raises(ModelError, match="the model's task is multiclass"):
        fit_postprocessing(other, discs)


def test_the_command(model, discs, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("segkit.artifact.segmentation._segmenter", lambda *_: model())
    segkit.save(model(), tmp_path / "model")
    command = ["postprocess", str(tmp_path / "model"), str(discs)]
    assert main(command) == 0
    out = capsys.readouterr().out
    assert "kept: " in out
    assert out.endswith("nothing is saved; name a folder by -o\n")
    assert main([*command, "-o", str(tmp_path / "better")]) == 0
    assert capsys.readouterr().out.endswith(f"model saved in {tmp_path / 'better'}\n")
    assert segkit.load(tmp_path / "better").about["predict"]["postprocess"]["largest"] == ["cell"]
    assert main([*command, "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["postprocess"]["largest"] == ["cell"]
    assert figures["model"] is None
    tried = next(each for each in figures["tried"] if each["step"] == "largest")
    assert (tried["class"], tried["kept"]) == ("cell", True)
    assert tried["before"]["cell"] < tried["after"]["cell"]
    assert main([*command, "--split", "train"]) == 2
    assert "was trained on split 'train'" in capsys.readouterr().err
