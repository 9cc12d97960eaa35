import shutil

import numpy as np
import pytest
import torch
import yaml

from segkit import Ensemble, Segmenter, evaluate, fit
from segkit.combining import Gate, LogitMean, Mean, Stack
from segkit.data.folder import open_dataset
from segkit.errors import ModelError, SegkitError, UsageError
from segkit.fitting import heldout, learned, run
from segkit.fitting.heldout import hold_out
from segkit.labels import threshold_at
from segkit.prediction.predictor import Predictor

HOW = {"precision": "fp32"}


def test_weights_say_who_knows_and_are_kept(spots, three):
    found = fit(three, spots, temperature=False, **HOW)
    good, fair, random = found.model.combination.weights[:, 0].tolist()
    assert good > fair > 0.05
    assert random < 0.02
    assert found.verdict.best.startswith("shrinkage")
    assert "better in 4 of 4 folds" in found.notes[0]
    assert list(found.scores) == ["good", "fair", "random"]
    assert found.scores["good"] > found.scores["fair"] > found.scores["random"]
    assert found.score == "Dice of spot, pooled"
    assert found.model.about["fitted_on"] == {
        "dataset": "spots",
        "split": "val",
        "pictures": 4,
        "weights": "member",
        "of": "probabilities",
        "kept": True,
    }


@pytest.mark.parametrize(("gain", "shift"), [(8.0, 0.0), (0.2, 0.0), (2.0, -1.0)])
@pytest.mark.parametrize("weights", ["member", "class"])
def test_with_temperatures_too_a_random_member_has_no_weight(spots, members, weights, gain, shift):
    three = members((0,), (1,), (2, gain, shift))
    found = fit(three, spots, weights=weights, **HOW)
    good, fair, random = found.model.combination.weights[:, 0].tolist()
    assert good > fair > 0.05
    assert random == 0
    assert found.notes[-1] == (
        "random: tells nothing of these pictures beyond how frequent each class is; its weight is 0"
    )
    alone = Ensemble(list(three.members)[2:], names=["random"]).eval()
    assert fit(alone, spots, weights=weights, **HOW).model.combination.weights.tolist() == [[1.0]]


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"weights": "member", "of": "logits"}, LogitMean),
        ({"weights": "class"}, Mean),
        ({"weights": "gate"}, Gate),
        ({"weights": "stack"}, Stack),
    ],
)
def test_every_fit_lowers_the_loss_of_other_pictures(spots, three, options, kind, monkeypatch):
    monkeypatch.setattr(learned, "STEPS", 60)  # enough for a gate over three channels
    found = fit(three, spots, temperature=False, **options, **HOW)
    assert type(found.model.combination) is kind
    assert found.verdict.best != "plain"

    def log_loss(model):
        folder, total = open_dataset(spots), []
        for sample in folder.samples("test"):
            image = model.reader.read(sample.image)
            with torch.no_grad():
                p = model(torch.from_numpy(image).permute(2, 0, 1)[None])[0, 0].numpy()
            truth = folder.read_mask(sample, p.shape)
            total.append(-np.log(np.where(truth == 1, p, 1 - p).clip(1e-6)).mean())
        return np.mean(total)

    assert log_loss(found.model) < log_loss(three)


def test_what_is_no_better_on_other_pictures_is_not_kept(spots, members):
    found = fit(members((0,), (0,), (0,)), spots, temperature=False, **HOW)
    assert found.verdict.best == "plain"
    assert "not kept" in found.notes[0]
    assert found.model.combination.weights.tolist() == [[pytest.approx(1 / 3)]] * 3
    assert found.model.about["fitted_on"]["kept"] is False


def test_uniform_and_scores_need_no_fit(spots, three):
    found = fit(three, spots, weights="uniform", temperature=False, **HOW)
    assert found.verdict is None
    assert found.model.combination.weights.std() == 0
    scored = fit(three, spots, weights="score", temperature=False, **HOW)
    expected = torch.tensor(list(scored.scores.values()))
    torch.testing.assert_close(scored.model.combination.weights[:, 0], expected / expected.sum())
    assert scored.verdict.best == "score"
    assert "better in" in scored.notes[0]


def test_scores_that_do_no_better_than_equal_weights_are_not_kept(spots, members):
    found = fit(members((0,), (0,)), spots, weights="score", temperature=False, **HOW)
    assert found.verdict.best == "plain"
    assert found.model.combination.weights.tolist() == [[0.5], [0.5]]
    assert found.model.about["fitted_on"]["kept"] is False


def test_a_temperature_is_fitted_on_what_was_not_fitted_on(spots, three, monkeypatch):
    seen = []
    monkeypatch.setattr(run, "kept_temperature", lambda pictures, *_: seen.append(pictures) or 1.0)
    fit(three, spots, weights="member", **HOW)
    of_members, whole = seen[:3], seen[3]
    assert all(picture.members.shape[0] == 1 for picture in whole)
    with torch.no_grad():
        fitted_on_all = fit(three, spots, weights="member", temperature=False, **HOW).model
        for picture, one in zip(whole, of_members[0], strict=True):
            assert picture.name == one.name
            assert not torch.allclose(picture.members[0], fitted_on_all(picture.image[None])[0], atol=1e-7)


def test_a_temperature_moves_the_thresholds_along(spots, members):
    model = members((0, 24), (1, 24))
    steps = {"thresholds": {"spot": 0.3}}
    model.about = {"predict": {"threshold": 0.4, "postprocess": steps}}
    plain = Ensemble(list(model.members), names=model.names)
    found = fit(model, spots, weights="uniform", **HOW).model
    moved = torch.tensor([0.4, 0.3]).logit().div(found.temperature).sigmoid().tolist()
    assert found.temperature != 1
    assert found.about["predict"]["threshold"] == pytest.approx(moved[0], abs=1e-6)
    assert found.about["predict"]["postprocess"]["thresholds"]["spot"] == pytest.approx(moved[1], abs=1e-6)
    plain = Ensemble(list(model.members), names=model.names, temperatures=found.temperatures)
    plain.about = model.about
    for sample in open_dataset(spots).samples("test"):
        one, other = (Predictor(each, **HOW).predict(sample.image).labels for each in (plain, found))
        assert (one == other).all()


def test_weights_chosen_on_the_split_of_the_fit_are_told(spots, three):
    about = {"trained_on": {"dataset": "spots", "splits": "train", "chosen_on": "val"}}
    three.members[1].about = about
    found = fit(three, spots, weights="uniform", temperature=False, **HOW)
    assert found.notes[0].startswith("fair: its weights were chosen by their score on 'val'")
    assert not any("chosen by" in note for note in fit(three, spots, "test", weights="uniform", **HOW).notes)


def test_a_member_that_is_too_sure_is_warmed(spots, members):
    found = fit(members((0, 24), (1, 24)), spots, weights="uniform", **HOW)
    calm = fit(members((0, 12), (1, 12)), spots, weights="uniform", **HOW)
    for sure, calmer in zip(found.model.temperatures, calm.model.temperatures, strict=True):
        assert sure > 2
        assert sure == pytest.approx(2 * calmer, rel=0.1)
    assert found.model.temperature < 1  # the mean of two that are right in themselves isn't sure enough


def test_maps_too_large_to_be_kept_whole_are_kept_in_windows_around_what_counts(spots, three, monkeypatch):
    monkeypatch.setattr(heldout, "MEMORY", 1)
    folder = open_dataset(spots)
    found = hold_out(three, Predictor(three, **HOW), folder, folder.samples("val"))
    for picture, sample in zip(found, folder.samples("val"), strict=True):
        assert picture.members.shape == (3, 1, 32, 32)
        image = three.reader.read(sample.image)
        whole = torch.from_numpy(image).permute(2, 0, 1)
        places = [
            (top, left)
            for top in range(40 - 31)
            for left in range(50 - 31)
            if torch.equal(whole[:, top : top + 32, left : left + 32], picture.image)
        ]
        ((top, left),) = places
        mask = folder.read_mask(sample, image.shape[:2])[top : top + 32, left : left + 32]
        assert (picture.target.numpy() == mask).all()
        with torch.no_grad():
            expected = three.members[0].probabilities(picture.image[None])[0]
        torch.testing.assert_close(picture.members[0], expected)
    notes = fit(three, spots, weights="uniform", **HOW).notes
    assert any("of 4 of 4 pictures a window of about 32 x 32" in note for note in notes)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": "members"}, "weights='members': expected one of uniform, score, member, class, gate, stack"),
        ({"of": "logit"}, "of='logit': expected one of probabilities, logits"),
        ({"weights": "gate", "of": "logits"}, "a gate averages probabilities"),
        ({"split": "nowhere"}, "no split 'nowhere'"),
        ({"seed": -1}, "seed=-1: expected 0 or more"),
    ],
)
def test_what_has_no_meaning_is_refused(spots, three, options, message):
    with pytest.raises(SegkitError, match=message):
        fit(three, spots, **options)


def test_a_split_that_a_member_was_trained_on_is_refused(spots, three):
    three.members[1].about = {"trained_on": {"dataset": "spots", "splits": "train, val"}}
    with pytest.raises(UsageError, match=r"fair was trained on split 'val' of spots.*name a split that no model"):
        fit(three, spots)


def test_members_of_other_classes_are_refused(spots):
    with pytest.raises(ModelError, match="task is multiclass"):
        fit(Ensemble([Segmenter.create({"name": "stem", "width": 4}, classes=3) for _ in range(2)]), spots)


def test_scores_on_the_split_of_the_fit_say_so(spots, three):
    found = fit(three, spots, temperature=False, **HOW)
    (note,) = evaluate(found.model, spots, "val", **HOW).metrics["notes"]
    assert note == "the model was fitted on split 'val' of spots: these scores favour it"
    assert evaluate(found.model, spots, "test", **HOW).metrics["notes"] == []


def test_a_second_fit_moves_thresholds_from_where_they_began(spots, three):
    three.about = {"predict": {"threshold": 0.4}}
    first = fit(three, spots, weights="uniform", **HOW).model
    assert first.about["predict"]["threshold"] == pytest.approx(threshold_at(0.4, first.temperature))
    again = fit(Ensemble(list(first.members), names=first.names, temperature=0.5), spots, weights="uniform", **HOW)
    assert again.model.temperature == pytest.approx(first.temperature, rel=0.2)
    moved = Ensemble(list(first.members), names=first.names, temperature=0.5)
    moved.about = {"predict": {"threshold": threshold_at(0.4, 0.5)}}
    again = fit(moved, spots, weights="uniform", **HOW).model
    assert again.about["predict"]["threshold"] == pytest.approx(threshold_at(0.4, again.temperature))


def test_members_are_scored_at_the_threshold_from_before_the_whole_s_temperature(spots, three):
    model = Ensemble(list(three.members), names=three.names, temperature=0.5)
    model.about = {"predict": {"threshold": threshold_at(0.4, 0.5)}}
    report = evaluate(model, spots, "val", **HOW)
    for name, member in zip(three.names, three.members, strict=True):
        alone = evaluate(member, spots, "val", threshold=0.4, **HOW).metrics
        assert report.members[name]["pooled"] == alone["pooled"]
    asked = evaluate(model, spots, "val", threshold=0.7, **HOW)
    alone = evaluate(three.members[0], spots, "val", threshold=0.7, **HOW).metrics
    assert asked.members[three.names[0]]["pooled"] == alone["pooled"]


def test_crops_cut_members_image_and_truth_at_one_place():
    place = torch.arange(12_000.0).view(100, 120)
    picture = heldout.HeldOut("a", place.expand(2, 1, 100, 120), place.expand(3, 100, 120), place.long())
    members, image, target = learned._crops([picture], torch.Generator().manual_seed(0))
    for said, seen, truth in zip(members.transpose(0, 1), image, target, strict=True):
        assert torch.equal(said[0, 0], seen[0])
        assert torch.equal(seen[0].long(), truth)
    assert len({int(truth[0, 0]) for truth in target}) > 1
    small = heldout.HeldOut("b", torch.ones(2, 1, 40, 50), torch.ones(3, 40, 50), torch.ones(40, 50).long())
    target = learned._crops([small], torch.Generator())[2]
    assert (target[:, :40, :50] == 1).all()
    assert int((target != 255).sum()) == 4 * 40 * 50


def test_pictures_that_another_split_has_too_are_refused(spots, three, tmp_path):
    data = tmp_path / "twice"
    shutil.copytree(spots, data)
    description = yaml.safe_load((data / "dataset.yaml").read_text())
    known = description["splits"]["val"][:2]
    description["splits"]["train"] = known
    (data / "dataset.yaml").write_text(yaml.safe_dump(description))
    name, model = three.names[0], Ensemble(list(three.members), names=three.names)
    before = model.members[0].about
    model.members[0].about = {**before, "trained_on": {"dataset": open_dataset(data).name, "splits": "train"}}
    try:
        with pytest.raises(
            UsageError, match=rf"{name} was trained on 2 of the pictures in split 'val' of .*{known[0]}"
        ):
            fit(model, data)
    finally:
        model.members[0].about = before


def test_a_temperature_leaves_thresholds_that_tell_probabilities_apart(spots, three, monkeypatch):
    monkeypatch.setattr(run, "kept_temperature", lambda *_: 0.05)
    three.about = {"predict": {"threshold": 0.9}}
    fitted = fit(three, spots, weights="uniform", **HOW)
    found, notes = fitted.model, fitted.notes
    assert found.temperature == pytest.approx(np.log(9) / run.SUREST)
    assert found.about["predict"]["threshold"] < 1
    assert any(note.startswith("the whole: its temperature is held at 0.220") for note in notes)
    warm = Ensemble(list(three.members), temperatures=found.temperatures, names=three.names).eval()
    for sample in open_dataset(spots).samples("test"):
        labels = [
            Predictor(model, **HOW).predict(sample.image, threshold=model_threshold).labels
            for model, model_threshold in ((warm, 0.9), (found, found.about["predict"]["threshold"]))
        ]
        assert 0 < labels[0].mean() < 1
        assert (labels[0] == labels[1]).all()


def test_a_temperature_that_ends_where_the_search_does_is_told(spots, members, monkeypatch):
    both = members((0,), (1,))
    ends = iter([0.05, 20.0, 1.0])
    monkeypatch.setattr(run, "kept_temperature", lambda *_: next(ends))
    notes = fit(both, spots, weights="uniform", **HOW).notes
    assert notes[0].startswith("good: its temperature ended at 0.05, the lowest that is tried: it is right nearly")
    assert notes[1].startswith("fair: its temperature ended at 20, the highest that is tried: what it says here is")
    assert len(notes) == 2


def test_what_is_no_ensemble_is_refused(spots, three):
    with pytest.raises(UsageError, match=r"str: expected a segkit\.Ensemble of trained models"):
        fit("fitted", spots)
    with pytest.raises(UsageError, match=r"OneChannel: expected a segkit\.Ensemble of trained models"):
        fit(three.members[0], spots)


def test_steps_that_a_member_has_by_itself_are_not_the_ensemble_s(spots, three):
    three.members[0].about = {"postprocessed_on": {"dataset": "spots", "split": "val"}}
    assert fit(three, spots, weights="uniform", temperature=False, **HOW).notes == ()
