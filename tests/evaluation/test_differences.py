"""Where other libraries count otherwise: each difference that docs/metrics.md names, shown by numbers."""

import math

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
import torchmetrics.functional.classification as classification
import torchmetrics.functional.segmentation as segmentation
from sklearn.metrics import brier_score_loss, f1_score, jaccard_score, log_loss

from segkit.evaluation.calibration import Calibration
from segkit.evaluation.metrics import SegmentationMetrics


def scored(classes, task, background, *images):
    metrics = SegmentationMetrics(classes, task, background)
    for i, (labels, target) in enumerate(images):
        metrics.update(f"image{i}", np.array(labels, np.uint8), np.array(target, np.uint8))
    return metrics.compute()


def calibrated(task, probabilities, target):
    calibration = Calibration(task, len(probabilities))
    calibration.update(np.array(probabilities, np.float32), np.array(target, np.uint8))
    return calibration.compute(())


def test_torchmetrics_puts_a_probability_of_exactly_1_into_a_sixteenth_bin():
    probabilities, target = [1.0, 0.95], [0, 1]
    theirs = classification.binary_calibration_error(torch.tensor(probabilities), torch.tensor(target), n_bins=15)
    assert theirs.item() == pytest.approx((abs(1.0 - 0) + abs(0.95 - 1)) / 2)
    assert calibrated("binary", [[probabilities]], [target])["ece"] == pytest.approx(abs((1.0 + 0.95) / 2 - 1 / 2))


def test_torchmetrics_takes_values_outside_0_to_1_for_logits():
    rounded_up = torch.tensor([1.0000001, 0.2]), torch.tensor([1, 0])
    assert rounded_up[0].max() > 1  # a softmax in float32 can give it
    theirs = classification.binary_calibration_error(*rounded_up, n_bins=15).item()
    assert theirs == pytest.approx((abs(1 / (1 + math.exp(-1)) - 1) + abs(1 / (1 + math.exp(-0.2)) - 0)) / 2, abs=1e-6)
    ours = calibrated("binary", [[rounded_up[0].tolist()]], [[1, 0]])
    assert ours["ece"] == pytest.approx(0.1, abs=1e-6)


def test_torchmetrics_mean_iou_for_segmentation_is_a_mean_of_images_and_knows_no_ignored_pixels():
    labels, target = [[[0, 0, 0, 1]], [[0, 1, 1, 1]]], [[[0, 0, 0, 0]], [[1, 1, 1, 1]]]
    theirs = segmentation.mean_iou(torch.tensor(labels), torch.tensor(target), num_classes=2, input_format="index")
    per_image = [(3 / 4 + 0) / 2, (0 + 3 / 4) / 2]
    assert theirs.tolist() == pytest.approx(per_image)
    ours = scored(["a", "b"], "multiclass", None, *zip(labels, target, strict=True))
    assert ours["pooled"]["mean_iou"] == pytest.approx((3 / 5 + 3 / 5) / 2)
    with pytest.raises(RuntimeError):  # 255 is taken for a class
        segmentation.mean_iou(
            torch.tensor(labels), torch.full_like(torch.tensor(target), 255), num_classes=2, input_format="index"
        )


def test_torchmetrics_agrees_on_absent_classes():
    labels, target = [[0, 0, 0, 1, 1, 0, 1]], [[0, 0, 0, 0, 0, 1, 1]]
    theirs = classification.multiclass_jaccard_index(torch.tensor(labels), torch.tensor(target), num_classes=10)
    ours = scored([f"class {k}" for k in range(10)], "multiclass", None, (labels, target))
    assert ours["pooled"]["mean_iou"] == pytest.approx(theirs.item()) == 0.375


def test_scikit_learn_counts_classes_that_are_only_listed_as_0():
    labels, target = [0, 0, 0, 1, 1, 0, 1], [0, 0, 0, 0, 0, 1, 1]
    ours = scored([f"class {k}" for k in range(10)], "multiclass", None, ([labels], [target]))["pooled"]["mean_iou"]
    assert jaccard_score(target, labels, average="macro") == pytest.approx(ours)
    listed = jaccard_score(target, labels, labels=range(10), average="macro", zero_division=0)
    assert listed == pytest.approx(ours * 2 / 10)


def test_scikit_learn_gives_0_where_there_is_nothing_to_score():
    assert f1_score([0, 0], [0, 0], zero_division=0) == 0
    assert scored(["vessel"], "binary", None, ([[0, 0]], [[0, 0]]))["pooled"]["per_class"]["vessel"]["dice"] is None


def test_scikit_learn_lets_a_certain_mistake_cost_36_nats():
    assert log_loss([1], [0.0], labels=[0, 1]) == pytest.approx(-math.log(np.finfo(np.float64).eps))
    ours = calibrated("binary", [[[0.0]]], [[1]])["nll"]
    assert ours == pytest.approx(-math.log(np.finfo(np.float32).eps))


def test_scikit_learn_s_brier_score_of_several_classes_is_ours():
    probabilities, target = np.array([[0.7, 0.2, 0.1], [0.2, 0.3, 0.5]]), [0, 1]
    theirs = brier_score_loss(target, probabilities, labels=[0, 1, 2])
    ours = calibrated("multiclass", probabilities.T[:, None], [target])["brier"]
    assert ours == pytest.approx(theirs)


def test_smp_counts_an_image_without_the_class_as_1():
    labels, target = torch.tensor([[[1, 1, 0, 0]], [[0, 0, 0, 0]]]), torch.tensor([[[1, 0, 0, 0]], [[0, 0, 0, 0]]])
    counts = smp.metrics.get_stats(labels, target, mode="binary")
    assert smp.metrics.iou_score(*counts, reduction="micro-imagewise").item() == pytest.approx((1 / 2 + 1) / 2)
    ours = scored(["cell"], "binary", None, *zip(labels.tolist(), target.tolist(), strict=True))
    assert ours["mean_over_images"]["per_class"]["cell"] == {"iou": 1 / 2, "dice": 2 / 3, "images": 1}


def test_smp_s_micro_average_over_classes_is_no_mean_over_classes():
    labels, target = [[0, 0, 0, 0, 0, 0, 1, 0]], [[0, 0, 0, 0, 0, 0, 1, 1]]
    counts = smp.metrics.get_stats(torch.tensor([labels]), torch.tensor([target]), mode="multiclass", num_classes=2)
    assert smp.metrics.iou_score(*counts, reduction="micro").item() == pytest.approx(7 / 9)
    assert scored(["a", "b"], "multiclass", None, (labels, target))["pooled"]["mean_iou"] == pytest.approx(
        (6 / 7 + 1 / 2) / 2
    )
