"""Steps chosen on cases: what helps is kept, what harms a class isn't."""

import numpy as np
import pytest

from segkit.choosing.candidates import _rounded, size_quantiles, sizes
from segkit.choosing.choice import Case, choose, passes
from segkit.errors import DataError
from segkit.postprocessing.settings import Postprocessing

BINARY = {"task": "binary", "classes": ("background", "cell"), "background": 0}
ORGANS = {"task": "multiclass", "classes": ("background", "liver", "tumour"), "background": 0}


def disc(shape, centre, radius):
    grid = np.meshgrid(*[np.arange(n) for n in shape], indexing="ij")
    return sum((axis - at) ** 2 for axis, at in zip(grid, centre, strict=True)) <= radius**2


def binary(wrong, count=8, shape=(40, 44), spacing=None, group=None):
    """Cases of a disc, sure and right but for what ``wrong`` makes of the probabilities."""
    cases = []
    for number in range(count):
        random = np.random.default_rng(number)
        centre = [n // 3 + random.integers(0, n // 4) for n in shape]
        truth = disc(shape, centre, min(shape) // 4)
        p = np.where(truth, 0.9, 0.1).astype(np.float32)
        wrong(p, centre, random)
        cases.append(Case(f"c{number}", p[None], truth.astype(np.uint8), spacing, group))
    return cases


def nothing(p, centre, random):
    """All is right."""


def chosen(cases, facts=BINARY, **how):
    calls = []

    def each():
        calls.append(1)
        yield from cases

    found = choose(each, **facts, **how)
    assert len(calls) <= passes(facts["task"], len(facts["classes"]))
    return found


def test_right_predictions_are_left_alone():
    found = chosen(binary(nothing))
    assert found.settings == Postprocessing()
    assert found.before == found.after == {"cell": 1.0}
    assert found.cases == 8
    assert not any(trial.kept for trial in found.trials)
    reasons = {trial.step: trial.reason for trial in found.trials}
    assert reasons["largest"] == reasons["holes"] == "it changes no score"


def test_false_islands_away_from_the_one_object():
    def islands(p, centre, random):
        p[-3:, -3:] = 0.9
        p[:2, :3] = 0.9

    found = chosen(binary(islands))
    assert found.settings.kept() == {"largest": ["cell"]}
    assert found.after == {"cell": 1.0}
    trial = next(trial for trial in found.trials if trial.kept)
    assert (trial.step, trial.name, trial.value, trial.tried) == ("largest", "cell", "alone", ("alone",))
    assert trial.before == found.before
    assert trial.after == found.after
    assert trial.reason.endswith("better in 8 of 8 cases that change")


def two_discs(p, centre, random):
    """A second object, which is real: see ``two``."""
    p[disc(p.shape, (33, 37), 5)] = 0.9
    p[0, :5] = 0.9
    p[36:, 0] = 0.9


def two(cases):
    return [
        Case(each.name, each.probabilities, each.truth | disc(each.truth.shape, (33, 37), 5), each.spacing)
        for each in cases
    ]


def test_small_parts_where_there_are_several_objects():
    found = chosen(two(binary(two_discs)))
    assert list(found.settings.kept()) == ["smallest"]
    (size,) = found.settings.smallest.values()
    number, unit = size.split()
    assert unit == "px"
    assert 6 <= float(number) <= 81
    assert found.after == {"cell": 1.0}
    largest = next(trial for trial in found.trials if trial.step == "largest")
    assert not largest.kept
    assert largest.reason.startswith("the mean Dice doesn't rise (-")


def test_sizes_are_in_millimetres_where_they_are_known():
    found = chosen(two(binary(two_discs, spacing=(0.5, 2.0))))
    (size,) = found.settings.smallest.values()
    number, unit = size.split()
    assert unit == "mm2"
    assert 6 <= float(number) <= 81  # pixels are of 1 mm²


def test_holes_are_filled():
    def hole(p, centre, random):
        p[disc(p.shape, centre, 3)] = 0.1

    found = chosen(binary(hole))
    assert "cell" in found.settings.holes
    assert found.after["cell"] > max(found.before["cell"], 0.99)


def test_a_threshold_that_fits():
    def timid(p, centre, random):
        p[p > 0.5] = random.uniform(0.3, 0.4)

    found = chosen(binary(timid))
    assert found.settings.kept() == {"thresholds": {"cell": 0.3}}
    assert found.before == {"cell": 0.0}
    assert found.after == {"cell": 1.0}
    assert chosen(binary(timid), threshold=0.25).settings == Postprocessing()


def test_noise_is_smoothed():
    def noise(p, centre, random):
        p += random.normal(0, 0.4, p.shape)
        p.clip(0, 1, out=p)

    found = chosen(binary(noise))
    assert found.settings.smoothing in ("1 px", "2 px")
    assert found.after["cell"] > found.before["cell"] + 0.05
    spaced = chosen(binary(noise, spacing=(0.2, 0.1)))
    assert spaced.settings.smoothing in ("0.1 mm", "0.2 mm")


def test_volumes():
    def islands(p, centre, random):
        p[-2:, -2:, -2:] = 0.9
        p[tuple(centre)] = 0.1

    found = chosen(binary(islands, shape=(12, 14, 16), spacing=(1, 1, 2.5), count=6))
    assert found.settings.largest == ["cell"]
    assert "cell" in found.settings.holes
    assert found.after == {"cell": 1.0}


def test_what_helps_one_class_and_harms_none_is_kept_by_class():
    """The liver is one, the tumour several: to keep the largest part helps the one and harms the other."""
    cases = []
    for number in range(6):
        truth = np.zeros((40, 40), np.uint8)
        truth[5:25, 5:25] = 1
        truth[8:10, 8 : 10 + number % 2] = 2
        truth[15:18, 15:18] = 2
        labels = truth.copy()
        labels[30:33, 30:34] = 1
        p = np.eye(3, dtype=np.float32)[labels].transpose(2, 0, 1) * 0.8 + 0.05
        cases.append(Case(f"c{number}", p, truth))
    found = chosen(cases, ORGANS)
    assert found.settings.largest == ["liver"]
    assert found.after == {"liver": 1.0, "tumour": 1.0}
    tumour = next(trial for trial in found.trials if (trial.step, trial.name) == ("largest", "tumour"))
    assert not tumour.kept
    assert tumour.after["tumour"] < tumour.before["tumour"]


def test_a_step_that_raises_the_mean_but_lowers_a_class_is_refused():
    """A threshold of the liver gives its pixels to the tumour: rightly in most, wrongly at the liver's edge."""
    cases = []
    for number in range(6):
        truth = np.zeros((20, 20), np.uint8)
        truth[:10] = 1
        truth[10:12] = 2
        p = np.zeros((3, 20, 20), np.float32)
        p[0], p[1, :10], p[1, 10:12], p[2, 10:12] = 0.05, 0.9, 0.5, 0.45
        p[1, 9:10], p[2, 9:10] = 0.5, 0.45
        p[1, 8:9], p[2, 8:9] = 0.5, 0.45
        p[1, 7:8], p[2, 7:8] = 0.5, 0.45
        p[1, 6:7], p[2, 6:7] = 0.5, 0.45
        cases.append(Case(f"c{number}", p, truth))
    found = chosen(cases, ORGANS)
    liver = next(trial for trial in found.trials if (trial.step, trial.name) == ("thresholds", "liver"))
    assert liver.mean_after > liver.mean_before
    assert liver.after["liver"] < liver.before["liver"]
    assert (liver.kept, liver.reason) == (False, "the mean Dice of a class falls")
    assert "liver" not in found.settings.thresholds


def test_maps_are_each_on_their_own():
    cases = []
    for number in range(6):
        truth = np.zeros((2, 30, 30), np.uint8)
        truth[:, 5:15, 5:15] = 1
        truth[1, 20:25, 20:25] = 1
        p = truth * np.float32(0.8)
        p[0, 25:28, 5 : 8 + number] = 0.9
        cases.append(Case(f"c{number}", p, truth))
    found = chosen(cases, {"task": "multilabel", "classes": ("red", "green"), "background": None})
    assert found.settings.kept() == {"largest": ["red"]}


def test_without_a_background_only_probabilities_are_worked_on():
    p = np.random.default_rng(0).dirichlet([1, 1], (6, 10, 10)).astype(np.float32).transpose(0, 3, 1, 2)
    cases = [Case(f"c{number}", each, each.argmax(0).astype(np.uint8)) for number, each in enumerate(p)]
    found = chosen(cases, {"task": "multiclass", "classes": ("road", "sky"), "background": None})
    assert {trial.step for trial in found.trials} == {"smoothing", "thresholds"}


def test_pixels_that_are_not_counted_do_not_count():
    def islands(p, centre, random):
        p[-3:, -3:] = 0.9

    cases = binary(islands)
    for case in cases:
        case.truth[-3:, -3:] = 255
    found = chosen(cases)
    assert found.settings == Postprocessing()
    assert found.before == {"cell": 1.0}


def test_one_patient_teaches_nothing():
    def islands(p, centre, random):
        p[-3:, -3:] = 0.9

    found = chosen(binary(islands, group="patient"))
    assert found.settings == Postprocessing()
    reasons = {trial.reason for trial in found.trials if trial.step == "largest"}
    assert reasons == {"there is one case, or one group, alone: nothing to judge a choice by"}


def test_a_truth_that_does_not_fit_is_refused():
    cases = binary(nothing)
    wrong = [Case("odd", cases[0].probabilities, cases[0].truth[:-1])]
    with pytest.raises(DataError, match="odd: labels are"):
        chosen(wrong)


def test_sizes_tried_are_those_of_what_is_there():
    labels = np.zeros((9, 60), np.uint8)
    for number, length in enumerate((1, 2, 3, 4, 50)):
        labels[2 * number, :length] = 1
    assert size_quantiles("smallest", labels, 1, 0, 1.0) == [3, 4, 5, 5]
    assert size_quantiles("smallest", labels, 1, 0, 0.5) == [1.5, 2, 2.5, 2.5]
    assert size_quantiles("smallest", np.zeros((4, 4), np.uint8), 1, 0, 1.0) == []
    assert size_quantiles("holes", np.array([[[1, 1, 1], [1, 0, 1], [1, 1, 1]]], np.uint8), 1, 0, 2.0) == [2] * 4
    tried = sizes("smallest", "cell", [[3, 4, 5, 5], [5, 8, 1007, 1007]], "px")
    assert [change.value for change in tried] == ["4 px", "6 px", "510 px"]
    assert [change.value for change in sizes("holes", "cell", [[1, 1, 2, 2]], "px")] == ["1 px", "2 px", True]
    assert [change.said for change in sizes("holes", "cell", [], "px")] == ["all"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.4295, "0.43"),
        (1049, "1100"),
        (7, "7"),
        (10, "10"),
        (0.00001234, "0.000013"),
        (0.3, "0.3"),
        (2.0e7, "20000000"),
    ],
)
def test_numbers_are_rounded_up(value, text):
    assert _rounded(value) == text
