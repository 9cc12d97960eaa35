import json

import cv2
import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from segkit import Ensemble, evaluate
from segkit.combining import Mean
from segkit.data.folder import open_dataset
from segkit.fitting import heldout
from segkit.fitting.agreement import kappa
from segkit.fitting.inspection import inspect
from segkit.labels import threshold_at
from segkit.prediction.predictor import Predictor

HOW = {"precision": "fp32"}


def dice(model, spots):
    return evaluate(model, spots, "test", **HOW).metrics["pooled"]["per_class"]["spot"]["dice"]


def test_scores_are_those_of_the_ensemble_its_members_and_what_is_left_without_each(spots, three):
    weights = [3.0, 2.0, 1.0]
    model = Ensemble(list(three.members), weights, names=three.names, temperature=1.3)
    found = inspect(model, spots, **HOW)
    assert found.whole == pytest.approx(dice(model, spots))
    for i, (name, member) in enumerate(zip(model.names, model.members, strict=True)):
        assert found.alone[name] == pytest.approx(dice(member, spots))
        others = [j for j in range(3) if j != i]
        rest = Ensemble([model.members[j] for j in others], [weights[j] for j in others])
        assert found.without[name] == pytest.approx(dice(rest, spots))
    assert found.weights == {"good": [0.5], "fair": [pytest.approx(1 / 3)], "random": [pytest.approx(1 / 6)]}


def test_agreement_is_cohens_kappa_of_the_labels(spots, three):
    found = inspect(three, spots, **HOW)
    folder, labels = open_dataset(spots), []
    for member in three.members:
        predictor = Predictor(member, **HOW)
        labels.append(
            np.concatenate([predictor.predict(sample.image).labels.ravel() for sample in folder.samples("test")])
        )
    for i in range(3):
        for j in range(3):
            assert found.agreement[i][j] == pytest.approx(cohen_kappa_score(labels[i], labels[j]))


@pytest.mark.parametrize(
    ("table", "expected"),
    [([[5, 0], [0, 5]], 1.0), ([[25, 25], [25, 25]], 0.0), ([[20, 5], [10, 15]], 0.4), ([[9, 0], [0, 0]], 1.0)],
)
def test_kappa_of_tables_counted_by_hand(table, expected):
    assert kappa(np.array(table, float)) == pytest.approx(expected)


def test_without_pictures_the_weights_are_shown(three):
    found = inspect(Ensemble(list(three.members), [2, 1, 1], names=three.names, temperatures=[1.5, 1, 1]))
    assert found.table().splitlines() == [
        "3 members, combined by mean",
        "member  weight  temperature",
        "good    0.500   1.500",
        "fair    0.250   1.000",
        "random  0.250   1.000",
    ]
    assert found.whole is None


def test_what_is_saved(spots, three, tmp_path):
    found = inspect(Ensemble(list(three.members), combination=Mean(3, 1, "binary")), spots, **HOW)
    folder = found.save(tmp_path / "inside")
    figures = json.loads((folder / "inspection.json").read_text())
    assert figures["alone"] == found.alone
    assert figures["on"] == "test of spots"
    table = (folder / "table.txt").read_text()
    assert "Dice of spot, pooled, on test of spots" in table
    assert "agreement (Cohen's kappa): least" in table
    assert cv2.imread(str(folder / "agreement.png")).std() > 10


def test_windows_of_pictures_are_told(spots, three, tmp_path, monkeypatch):
    monkeypatch.setattr(heldout, "MEMORY", 1)
    found = inspect(three, spots, **HOW)
    assert found.table().splitlines()[-1].startswith("of 4 of 4 pictures a window of about 32 x 32 is looked at")
    figures = json.loads((found.save(tmp_path / "inside") / "inspection.json").read_text())
    assert figures["note"] == found.note


def test_of_one_member_nothing_is_left_and_nobody_agrees(spots, three, tmp_path):
    found = inspect(Ensemble(list(three.members[:1]), names=["good"]), spots, **HOW)
    assert found.without == {"good": None}
    assert found.table().splitlines()[-1] == f"good    1.000   1.000        {found.whole:.4f}  –"
    figures = (found.save(tmp_path / "inside") / "inspection.json").read_text()
    assert json.loads(figures, parse_constant=pytest.fail)["without"] == {"good": None}


def test_what_is_left_without_weights_has_no_score(spots, three):
    model = Ensemble(list(three.members[:2]), [1.0, 0.0], names=["good", "fair"])
    found = inspect(model, spots, **HOW)
    assert found.without == {"good": None, "fair": pytest.approx(found.whole)}


def test_a_temperature_and_its_moved_threshold_change_no_figure(spots, three):
    plain = Ensemble(list(three.members), names=three.names)
    plain.about = {"predict": {"threshold": 0.4}}
    sharp = Ensemble(list(three.members), names=three.names, temperature=0.5)
    sharp.about = {"predict": {"threshold": threshold_at(0.4, 0.5)}}
    expected, found = (inspect(each, spots, **HOW) for each in (plain, sharp))
    assert (found.alone, found.agreement) == (expected.alone, expected.agreement)
    assert found.whole == pytest.approx(expected.whole, abs=1e-3)


def test_it_is_said_where_the_pictures_are_known(spots, three):
    three.about = {"fitted_on": {"dataset": "spots", "split": "test"}}
    assert inspect(three, spots, **HOW).note == "the model was fitted on split 'test' of spots: these scores favour it"
    assert inspect(three, spots, "val", **HOW).note is None
