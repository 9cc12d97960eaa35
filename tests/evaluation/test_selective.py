"""Errors against uncertainty: cases by hand, and a plain sort of all pixels."""

import numpy as np
import pytest

from segkit.evaluation.selective import Selective


def computed(task, probabilities, labels, target):
    selective = Selective(task, len(probabilities))
    selective.update(np.asarray(probabilities, np.float32), np.asarray(labels, np.uint8), np.asarray(target, np.uint8))
    return selective.compute()


def test_ten_pixels_by_hand():
    # From the most certain: right, …; wrong are the 9th and the 10th, at p = 0.45 and 0.5.
    p = [0.01, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.45, 0.5]
    found = computed("binary", [[p]], [[0] * 9 + [1]], [[0] * 8 + [1, 0]])
    assert found["errors_in_most_uncertain"] == pytest.approx(1 / 2)
    assert found["aurc"] == pytest.approx((1 / 9 + 2 / 10) / 10)
    assert found["curve"][-1] == pytest.approx([1, 0.2])
    assert found["curve"][39] == pytest.approx([0.8, 0])
    assert found["curve"][44] == pytest.approx([0.9, 1 / 9])


def test_equally_uncertain_pixels_count_as_in_random_order():
    # Two of one kind, one wrong: the risk of the first is a half, of both a half. Then a third, right.
    found = computed("binary", [[[0.1, 0.1, 0.4]]], [[0, 0, 0]], [[1, 0, 0]])
    assert found["aurc"] == pytest.approx((1 / 2 + 1 / 2 + 1 / 3) / 3)


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
def test_figures_are_those_of_a_sort(task):
    generator = np.random.default_rng(0)
    maps = 1 if task == "binary" else 4
    logits = 3 * generator.standard_normal((maps, 60, 70))
    p = np.exp(logits) / np.exp(logits).sum(0) if task == "multiclass" else 1 / (1 + np.exp(-logits))
    p = p.astype(np.float32)
    shape = p.shape if task == "multilabel" else p.shape[1:]
    labels = p.argmax(0) if task == "multiclass" else (p >= 0.5) if task == "multilabel" else p[0] >= 0.5
    target = generator.integers(0, 2 if maps == 1 or task == "multilabel" else maps, shape)
    target[generator.random(shape) < 0.1] = 255
    found = computed(task, p, labels, target)

    q = p.astype(np.float64)
    nats = -(q * np.log(q)) if task == "multiclass" else -(q * np.log(q) + (1 - q) * np.log1p(-q))
    nats = nats.sum(0) if task == "multiclass" else nats if task == "multilabel" else nats[0]
    counted = target != 255
    wrong = (labels != target)[counted][np.argsort(nats[counted], kind="stable")]
    risk = wrong.cumsum() / np.arange(1, len(wrong) + 1)
    assert found["aurc"] == pytest.approx(risk.mean(), abs=1e-4)
    share = 1 - wrong[: round(0.9 * len(wrong))].sum() / wrong.sum()
    assert found["errors_in_most_uncertain"] == pytest.approx(share, abs=1e-3)


def test_rows_of_an_image_add_up():
    generator = np.random.default_rng(1)
    p, target = generator.random((1, 8, 9), np.float32), generator.integers(0, 2, (8, 9)).astype(np.uint8)
    labels = (p[0] >= 0.5).astype(np.uint8)
    whole, rows = Selective("binary", 1), Selective("binary", 1)
    whole.update(p, labels, target)
    for top in range(0, 8, 3):
        rows.update(p[:, top : top + 3], labels[top : top + 3], target[top : top + 3])
    assert whole.compute() == rows.compute()


def test_nothing_counted_and_nothing_wrong_are_undefined():
    assert computed("binary", [[[0.1]]], [[0]], [[255]])["aurc"] is None
    right = computed("binary", [[[0.1, 0.2]]], [[0, 0]], [[0, 0]])
    assert (right["aurc"], right["errors_in_most_uncertain"]) == (0, None)
