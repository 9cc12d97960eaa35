"""Lesions found, missed and invented, counted by hand, and in a report."""

import csv
import json

import cv2
import numpy as np
import pytest
import yaml

from segkit.cli.main import main
from segkit.errors import DataError, UsageError
from segkit.evaluation.lesions import LesionCounts, LesionRule, Lesions, find_lesions
from segkit.evaluation.report import evaluate

CELL = ("background", "cell")


def drawn(*rows):
    return np.array([[mark == "#" for mark in row] for row in rows])


TRUTH = drawn(
    "##....##",
    "##....##",
    "........",
    "...#....",
)
GUESS = drawn(
    ".##.....",
    ".##.....",
    "......##",
    "...#....",
)


def test_by_hand():
    # The square on the left is found with an IoU of 2/6 and a Dice of 4/8, the dot exactly, the square on the right
    # isn't, though a predicted bar lies below it.
    assert find_lesions(GUESS, TRUTH, LesionRule()) == Lesions(true=3, predicted=3, dice=(1.0, 0.5))


def test_the_overlap_is_an_iou_and_reaching_it_is_enough():
    a, b = drawn("##########"), drawn("#.........")
    assert find_lesions(a, b, LesionRule(overlap=0.1)).dice == pytest.approx([2 / 11])
    assert find_lesions(a, b, LesionRule(overlap=0.11)).dice == ()
    assert find_lesions(a, b, LesionRule(overlap=0)).dice == pytest.approx([2 / 11])


def test_no_overlap_at_all_finds_nothing_at_any_rule():
    assert find_lesions(drawn("#.."), drawn("..#"), LesionRule(overlap=0)) == Lesions(1, 1, ())


def test_each_is_in_one_pair_at_most_and_the_best_pairs_come_first():
    whole, pieces = drawn("#######"), drawn("##.####")
    assert find_lesions(pieces, whole, LesionRule()) == Lesions(1, 2, (pytest.approx(8 / 11),))
    assert find_lesions(whole, pieces, LesionRule()) == Lesions(2, 1, (pytest.approx(8 / 11),))
    # IoU of the left lesion 1/4 and 2/7, of the right one 2/6: the right one takes the long piece, and leaves the dot.
    truth, guess = drawn("####.###"), drawn("#.#####.")
    assert find_lesions(guess, truth, LesionRule()).dice == pytest.approx([4 / 8, 2 / 5])


def test_touching_at_a_corner_is_one_object():
    assert find_lesions(drawn("#.", ".#"), drawn("##", "##"), LesionRule()) == Lesions(1, 1, (pytest.approx(4 / 6),))
    diagonal = np.eye(3, dtype=bool)[:, :, None] & np.eye(3, dtype=bool)[:, None, :]
    assert find_lesions(diagonal, diagonal, LesionRule()) == Lesions(1, 1, (1.0,))


def test_small_objects_do_not_count():
    rule = LesionRule(smallest=3)
    assert find_lesions(GUESS, TRUTH, rule) == Lesions(2, 1, (0.5,))
    assert find_lesions(GUESS, TRUTH, LesionRule(smallest=4)) == Lesions(2, 1, (0.5,))
    assert find_lesions(GUESS, TRUTH, LesionRule(smallest=5)) == Lesions(0, 0, ())


def test_sizes_are_in_cubic_millimetres_where_spacings_are_known():
    bar = np.ones((1, 1, 7), bool)
    spacing = (0.1, 0.7, 3.0)  # 7 · 0.21 = 1.47
    assert find_lesions(bar, bar, LesionRule(smallest=1.47), spacing).true == 1
    assert find_lesions(bar, bar, LesionRule(smallest=1.48), spacing).true == 0


def test_empty_masks_have_no_lesions():
    nothing = np.zeros((3, 0), bool)
    assert find_lesions(nothing, nothing, LesionRule()) == Lesions(0, 0, ())
    assert find_lesions(np.zeros((2, 2), bool), np.ones((2, 2), bool), LesionRule()) == Lesions(1, 0, ())


def test_against_every_pair_tried():
    """Of the pairs with enough overlap, none is left of which neither side is in a pair, and counts add up."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        guess, truth = (rng.random((2, 12, 12)) > 0.75).astype(bool)
        loose, none = find_lesions(guess, truth, LesionRule(0)), find_lesions(guess, truth, LesionRule(1))
        assert (loose.true, loose.predicted) == (none.true, none.predicted)
        assert len(none.dice) <= len(loose.dice) <= min(loose.true, loose.predicted)
        assert set(none.dice) <= {1.0}
        assert find_lesions(truth, guess, LesionRule(0)).dice == pytest.approx(loose.dice)


# Cases


@pytest.fixture
def counts():
    """The pictures above as two cases of one patient, and one with no lesion, where one is invented, of another."""
    counts, nothing = LesionCounts(CELL, "binary", [1], LesionRule()), np.zeros((4, 8), np.uint8)
    counts.update("a", GUESS.astype(np.uint8), TRUTH.astype(np.uint8))
    counts.update("b", nothing, TRUTH.astype(np.uint8))
    counts.update("c", np.eye(4, 8, dtype=np.uint8), nothing)
    return counts


def test_pooled_and_each_image_by_itself(counts):
    result = counts.compute(np.arange(3), "image")
    assert result["pooled"]["per_class"]["cell"] == pytest.approx(
        {
            "true": 6,
            "predicted": 4,
            "found": 2,
            "false": 2,
            "sensitivity": 2 / 6,
            "precision": 2 / 4,
            "f1": 4 / 10,
            "dice": 0.75,
        }
    )
    means = result["mean_over_images"]["per_class"]["cell"]
    assert means["sensitivity"] == pytest.approx({"mean": (2 / 3 + 0) / 2, "median": 1 / 3, "images": 2})
    assert means["precision"] == pytest.approx({"mean": (2 / 3 + 0) / 2, "median": 1 / 3, "images": 2})
    assert means["f1"] == pytest.approx({"mean": 2 / 9, "median": 0, "images": 3})
    assert means["false"] == pytest.approx({"mean": 2 / 3, "median": 1, "images": 3})
    assert result["images"][1]["per_class"]["cell"]["precision"] is None
    assert result["groups"] is None
    json.dumps(result, allow_nan=False)


def test_a_patients_cases_are_averaged_before_patients_are(counts):
    groups = counts.compute(np.array([0, 0, 1]), "group")["groups"]["per_class"]["cell"]
    assert groups["false"] == pytest.approx({"mean": 0.75, "median": 0.75, "groups": 2})
    assert groups["sensitivity"] == pytest.approx({"mean": 1 / 3, "median": 1 / 3, "groups": 1})


def test_ids_and_maps_of_a_volume_and_pixels_that_are_not_counted():
    rng = np.random.default_rng(1)
    ids, truth = (rng.integers(0, 4, (5, 6, 7)).astype(np.uint8) for _ in range(2))
    truth[2] = 255
    names = ("other", "a", "b", "c")
    of_ids, of_maps = (LesionCounts(names, task, [1, 2, 3], LesionRule()) for task in ("multiclass", "multilabel"))
    of_ids.update("v", ids, truth, (1, 1, 2))
    maps = np.stack([np.where(truth == 255, 255, truth == k) for k in range(4)]).astype(np.uint8)
    of_maps.update("v", np.stack([ids == k for k in range(4)]).astype(np.uint8), maps, (1, 1, 2))
    result = of_ids.compute(np.zeros(1, np.int64), "image")
    assert result == of_maps.compute(np.zeros(1, np.int64), "image")
    assert list(result["pooled"]["per_class"]) == ["a", "b", "c"]
    assert result["unit"] == "mm³"
    for k, name in ((1, "a"), (3, "c")):
        expected = find_lesions((ids == k) & (truth != 255), truth == k, LesionRule(), (1, 1, 2))
        assert result["pooled"]["per_class"][name]["found"] == len(expected.dice)
        assert result["pooled"]["per_class"][name]["true"] == expected.true


def test_what_is_refused(counts):
    with pytest.raises(UsageError, match=r"lesion overlap is 1\.5; expected an IoU of 0 to 1"):
        LesionRule(overlap=1.5)
    with pytest.raises(UsageError, match="smallest lesion is -1; expected a size of 0 or more"):
        LesionRule(smallest=-1)
    with pytest.raises(DataError, match="d: measured in voxels in 3 dimensions, those before it in px in 2"):
        counts.update("d", np.zeros((2, 2, 2), np.uint8), np.zeros((2, 2, 2), np.uint8))


# A report


@pytest.fixture
def dataset(tmp_path):
    for folder in ("images", "masks", "reader"):
        (tmp_path / folder).mkdir()
    for name in ("a", "b"):
        cv2.imwrite(str(tmp_path / "images" / f"{name}.png"), np.zeros((4, 8), np.uint8))
        cv2.imwrite(str(tmp_path / "masks" / f"{name}.png"), TRUTH.astype(np.uint8))
        cv2.imwrite(str(tmp_path / "reader" / f"{name}.png"), (GUESS if name == "a" else TRUTH).astype(np.uint8))
    description = {"classes": ["background", "lesion"], "splits": {"test": ["a", "b"]}}
    (tmp_path / "dataset.yaml").write_text(yaml.safe_dump({**description, "groups": {"one": ["a", "b"]}}))
    return tmp_path


def test_a_report_with_lesions(dataset, tmp_path):
    report = evaluate(dataset / "reader", dataset, lesions=True)
    folder = report.save(tmp_path / "report")
    found = json.loads((folder / "metrics.json").read_text())["lesions"]["pooled"]["per_class"]["lesion"]
    assert (found["true"], found["found"], found["false"]) == (6, 5, 1)
    first, second = csv.DictReader((folder / "per_image.csv").open())
    cells = ["lesions lesion", "lesions found lesion", "false lesions lesion", "lesion Dice lesion"]
    assert [first[cell] for cell in cells] == ["3", "2", "1", "0.75"]
    assert [second[cell] for cell in cells] == ["3", "3", "0", "1.0"]
    lines = report.table().splitlines()
    start = lines.index("lesions")
    assert lines[start + 3].split() == ["lesion", "6", "5", "1", "0.8333", "0.8333", "0.8333", "0.9000"]
    assert "mean over groups" in lines[start + 9]
    assert "<h2>Lesions</h2>" in report.page()
    assert "an IoU of at least 0.1" in report.page()


def test_the_command_line(dataset, capsys):
    words = ["evaluate", str(dataset / "reader"), str(dataset), "--lesions", "--json"]
    assert main([*words, "--lesion-overlap", "0.5", "--lesion-size", "3"]) == 0
    lesions = json.loads(capsys.readouterr().out)["lesions"]
    assert (lesions["overlap"], lesions["smallest"]) == (0.5, 3)
    found = lesions["pooled"]["per_class"]["lesion"]
    assert (found["true"], found["found"], found["false"]) == (4, 2, 1)
    assert lesions["definitions"]["lesion"].endswith("; those below 3 px don't count")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--lesions --lesion-overlap 2", "lesion overlap is 2.0; expected an IoU of 0 to 1"),
        ("--lesion-size 2", "--lesion-overlap and --lesion-size say what --lesions counts; give it too"),
    ],
)
def test_the_command_line_refuses(dataset, capsys, words, message):
    assert main(["evaluate", str(dataset / "reader"), str(dataset), *words.split()]) == 2
    assert capsys.readouterr() == ("", f"error: {message}\n")
