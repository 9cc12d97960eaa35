import math

import numpy as np
import pytest
import torch
from scipy.special import softmax
from sklearn.metrics import balanced_accuracy_score, log_loss, top_k_accuracy_score
from torchmetrics.functional.classification import multiclass_accuracy, multiclass_calibration_error

from segkit.classification.scores import (
    DEFINITIONS,
    classification_scores,
    ranks,
    wilson,
)
from segkit.errors import UsageError

CLASSES = tuple("abcdefg")


def drawn(images=400, classes=7, seed=0):
    random = np.random.default_rng(seed)
    logits = random.normal(size=(images, classes)) * 2
    labels = np.where(random.random(images) < 0.4, logits.argmax(1), random.integers(classes, size=images))
    return softmax(logits, axis=1), labels


def score(name, probabilities, labels):
    """One of the scores, without intervals."""
    return classification_scores(probabilities, labels, "abcdefghij"[: probabilities.shape[1]], resamples=0)[name]


def accuracies(probabilities, labels):
    return [each["accuracy"] for each in score("per_class", probabilities, labels).values()]


def test_scores_worked_out_by_hand():
    probabilities = np.array([[0.7, 0.2, 0.1], [0.5, 0.25, 0.25], [0.1, 0.1, 0.8], [0.2, 0.6, 0.2]])
    labels = np.array([0, 1, 2, 2])
    assert ranks(probabilities, labels).tolist() == [0, 1, 0, 2]  # of equal ones, those before by id go first
    assert score("top1", probabilities, labels) == 0.5
    assert score("nll", probabilities, labels) == pytest.approx(-np.log([0.7, 0.25, 0.8, 0.2]).mean())
    squared = [0.3**2 + 0.2**2 + 0.1**2, 0.5**2 + 0.75**2 + 0.25**2, 0.1**2 * 2 + 0.2**2, 0.2**2 + 0.6**2 + 0.8**2]
    assert score("brier", probabilities, labels) == pytest.approx(np.mean(squared))
    # Four bins that hold one image each: |0.7 - 1|, |0.5 - 0|, |0.8 - 1|, |0.6 - 0|
    assert score("ece", probabilities, labels) == pytest.approx((0.3 + 0.5 + 0.2 + 0.6) / 4)
    assert accuracies(probabilities, labels) == [1, 0, 0.5]


def test_a_model_that_says_the_same_of_all_classes_is_no_better_than_chance():
    labels = np.arange(10)
    even = np.full((10, 10), 0.1)
    assert score("top1", even, labels) == 0.1
    assert score("top5", even, labels) == 0.5


def test_scores_are_those_of_scikit_learn_and_torchmetrics():
    probabilities, labels = drawn()
    p, y = torch.from_numpy(probabilities), torch.from_numpy(labels)
    ids = range(7)
    for k in (1, 5):
        assert score(f"top{k}", probabilities, labels) == pytest.approx(
            top_k_accuracy_score(labels, probabilities, k=k, labels=ids)
        )
    assert score("nll", probabilities, labels) == pytest.approx(log_loss(labels, probabilities, labels=ids))
    truth = np.eye(7)[labels]
    assert score("brier", probabilities, labels) == pytest.approx(
        ((probabilities - truth) ** 2).sum(1).mean(), rel=1e-6
    )
    expected = multiclass_calibration_error(p, y, num_classes=7, n_bins=15)
    assert score("ece", probabilities, labels) == pytest.approx(float(expected), abs=1e-6)
    expected = multiclass_accuracy(p, y, num_classes=7, average=None)
    np.testing.assert_allclose(accuracies(probabilities, labels), expected, atol=1e-6)
    found = classification_scores(probabilities, labels, CLASSES, resamples=0)
    assert found["mean_class_accuracy"] == pytest.approx(balanced_accuracy_score(labels, probabilities.argmax(1)))


def test_a_class_without_images_has_no_accuracy():
    probabilities, labels = drawn()
    labels[labels == 6] = 0
    found = classification_scores(probabilities, labels, CLASSES, resamples=20)
    of_b = labels == 1
    share = float((probabilities.argmax(1) == 1)[of_b].mean())
    assert found["per_class"]["b"] == {"images": int(of_b.sum()), "accuracy": pytest.approx(share)}
    assert found["per_class"]["g"] == {"images": 0, "accuracy": None}
    there = [each["accuracy"] for each in found["per_class"].values() if each["images"]]
    assert found["mean_class_accuracy"] == pytest.approx(np.mean(there))
    assert sum(each["images"] for each in found["bins"]) == 400
    filled = [each for each in found["bins"] if each["images"]]
    assert all(each["from"] <= each["confidence"] <= each["to"] for each in filled)
    assert found["intervals"]["per_class"]["g"] is None
    assert set(DEFINITIONS) >= {"top1", "top5", "nll", "brier", "ece", "mean_class_accuracy"}


def test_an_interval_is_that_of_a_share_where_images_are_drawn_anew():
    probabilities, labels = drawn(images=300)
    found = classification_scores(probabilities, labels, CLASSES)
    share = found["top1"]
    far = 1.96 * math.sqrt(share * (1 - share) / 300)
    assert found["intervals"]["top1"] == pytest.approx([share - far, share + far], abs=0.01)
    for name in ("top5", "nll", "brier", "mean_class_accuracy"):
        low, high = found["intervals"][name]
        assert low < found[name] < high
    right = found["per_class"]["a"]["accuracy"]
    far = 1.96 * math.sqrt(right * (1 - right) / found["per_class"]["a"]["images"])
    assert found["intervals"]["per_class"]["a"] == pytest.approx([right - far, right + far], abs=0.03)
    assert classification_scores(probabilities, labels, CLASSES)["intervals"] == found["intervals"]


def test_a_truth_that_was_called_impossible_costs_a_finite_number_of_nats():
    assert score("nll", np.array([[1.0, 0.0]]), np.array([1])) == pytest.approx(15.94, abs=0.01)


@pytest.mark.parametrize(
    ("shape", "labels", "message"),
    [
        ((0, 3), [], r"probabilities \[0, 3\] of 0 labels and 3 classes"),
        ((2, 4), [0, 1], r"probabilities \[2, 4\] of 2 labels and 3 classes; expected \[2, 3\]"),
        ((2, 3), [0, -1], "labels run from -1 to 0"),
        ((2, 3), [0, 3], "labels run from 0 to 3"),
    ],
)
def test_what_does_not_fit_is_said(shape, labels, message):
    with pytest.raises(UsageError, match=message):
        classification_scores(np.ones(shape), np.array(labels, np.int64), "abc")


def test_what_is_no_number_is_not_right():
    probabilities = np.array([[np.nan, np.nan, np.nan], [0.2, np.nan, 0.1], [0.2, 0.7, 0.1]])
    assert ranks(probabilities, np.array([0, 0, 1])).tolist() == [3, 1, 0]
    assert (ranks(probabilities, np.array([0, 0, 1])) == 0).mean() == pytest.approx(1 / 3)


def test_shares_have_wilsons_interval():
    assert wilson(20, 20) == pytest.approx([0.8389, 1], abs=1e-4)
    assert wilson(0, 20) == pytest.approx([0, 0.1611], abs=1e-4)
    assert wilson(81, 263) == pytest.approx([0.2553, 0.3662], abs=1e-4)  # Newcombe, Statistics in Medicine, 1998
    assert (wilson(1, 1), wilson(0, 0)) == (None, None)
    right = classification_scores(np.eye(2)[[0] * 20], np.zeros(20, np.int64), "ab")
    assert right["intervals"]["top1"] == right["intervals"]["per_class"]["a"] == wilson(20, 20)


def test_a_calibration_error_has_no_interval():
    confidence = np.repeat([0.55, 0.65, 0.75, 0.85, 0.95], 20)
    labels = np.concatenate([np.arange(20) >= right for right in (11, 13, 15, 17, 19)]).astype(np.int64)
    found = classification_scores(np.stack([confidence, 1 - confidence], 1), labels, "ab")
    assert found["ece"] == pytest.approx(0, abs=1e-12)
    assert found["intervals"]["ece"] is None  # resampled ones would run from about 0.03 to 0.12
