import json
import math

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
import torchmetrics.functional.classification as reference
from sklearn.metrics import confusion_matrix, f1_score, jaccard_score, precision_score, recall_score

from segkit.errors import DataError, UsageError
from segkit.evaluation.metrics import SegmentationMetrics, headline


def grid(*rows):
    return np.array(rows, np.uint8)


def scored(classes, task, background, *images, **options):
    metrics = SegmentationMetrics(classes, task, background, **options)
    for i, (labels, target) in enumerate(images):
        metrics.update(f"image{i}", labels, target)
    return metrics.compute()


def random_images(classes, count=3, seed=0):
    generator = np.random.default_rng(seed)
    for _ in range(count):
        target = generator.integers(0, classes, (9, 11)).astype(np.uint8)
        target[generator.random(target.shape) < 0.2] = 255
        yield generator.integers(0, classes, (9, 11)).astype(np.uint8), target


def test_two_by_two_pixels_by_hand():
    # Truth: two vessel pixels, one ignored. Predicted: one of them, and one that is none. TP 1, FP 1, FN 1, TN 0.
    result = scored(["background", "vessel"], "binary", 0, (grid([1, 0], [1, 1]), grid([1, 1], [0, 255])))
    pooled = result["pooled"]
    assert pooled["per_class"]["vessel"] == {
        "iou": 1 / 3,
        "dice": 1 / 2,
        "precision": 1 / 2,
        "recall": 1 / 2,
        "support": 2,
    }
    assert pooled["per_class"]["background"] == {"iou": 0, "dice": 0, "precision": 0, "recall": 0, "support": 1}
    assert pooled["mean_iou"] == 1 / 6
    assert pooled["mean_iou_without_background"] == 1 / 3
    assert pooled["mean_dice"] == 1 / 4
    assert pooled["mean_dice_without_background"] == 1 / 2
    assert pooled["pixel_accuracy"] == 1 / 3
    assert result["confusion"] == [[0, 1], [1, 1]]
    assert result["images"] == [
        {
            "name": "image0",
            "dice": {"background": 0, "vessel": 1 / 2},
            "iou": {"background": 0, "vessel": 1 / 3},
            "pixels": 3,
        }
    ]


def test_absent_classes_are_left_out_where_smp_counts_them_as_1():
    # Two of ten classes occur, with IoU 3/6 and 1/4.
    target, labels = grid([0, 0, 0, 0, 0, 1, 1]), grid([0, 0, 0, 1, 1, 0, 1])
    counts = smp.metrics.get_stats(
        torch.tensor(labels[None]).long(), torch.tensor(target[None]).long(), mode="multiclass", num_classes=10
    )
    assert smp.metrics.iou_score(*counts, reduction="macro").item() == pytest.approx(0.875)

    pooled = scored([f"class {k}" for k in range(10)], "multiclass", None, (labels, target))["pooled"]
    assert pooled["mean_iou"] == 0.375
    assert pooled["per_class"]["class 7"] == {
        "iou": None,
        "dice": None,
        "precision": None,
        "recall": None,
        "support": 0,
    }


def test_a_class_that_is_only_predicted_counts_as_0():
    pooled = scored(["a", "b", "c"], "multiclass", None, (grid([0, 2]), grid([0, 0])))["pooled"]
    assert pooled["per_class"]["c"] == {"iou": 0, "dice": 0, "precision": 0, "recall": None, "support": 0}
    assert pooled["mean_iou"] == (1 / 2 + 0) / 2


def test_pooled_scores_are_scikit_learn_s():
    images = list(random_images(4))
    result = scored(["a", "b", "c", "d"], "multiclass", 0, *images)
    counted = [target != 255 for _, target in images]
    truth = np.concatenate([target[c] for (_, target), c in zip(images, counted, strict=True)])
    guess = np.concatenate([labels[c] for (labels, _), c in zip(images, counted, strict=True)])
    assert result["confusion"] == confusion_matrix(truth, guess).tolist()
    per_class = result["pooled"]["per_class"].values()
    for key, score in {
        "dice": f1_score,
        "iou": jaccard_score,
        "precision": precision_score,
        "recall": recall_score,
    }.items():
        assert [row[key] for row in per_class] == pytest.approx(score(truth, guess, average=None).tolist())
    assert result["pooled"]["pixel_accuracy"] == (truth == guess).mean()
    assert result["pooled"]["mean_dice_without_background"] == pytest.approx(
        f1_score(truth, guess, average=None)[1:].mean()
    )


def test_pooled_scores_are_torchmetrics_where_every_class_occurs():
    images = list(random_images(4))
    labels, target = (torch.tensor(np.stack(arrays)).long() for arrays in zip(*images, strict=True))
    result = scored(["a", "b", "c", "d"], "multiclass", None, *images)
    iou = reference.multiclass_jaccard_index(labels, target, num_classes=4, ignore_index=255)
    dice = reference.multiclass_f1_score(labels, target, num_classes=4, ignore_index=255)
    assert result["pooled"]["mean_iou"] == pytest.approx(iou.item())
    assert result["pooled"]["mean_dice"] == pytest.approx(dice.item())


def test_the_mean_over_images_takes_those_where_the_class_occurs():
    found, missed = (grid([1, 1, 0, 0]), grid([1, 0, 0, 0])), (grid([0, 0, 0, 0]), grid([1, 1, 1, 1]))
    without = (grid([0, 0, 0, 0]), grid([0, 0, 0, 0]))
    result = scored(["background", "cell"], "binary", 0, found, missed, without)
    cell = result["mean_over_images"]["per_class"]["cell"]
    assert cell == {"iou": (1 / 2 + 0) / 2, "dice": (2 / 3 + 0) / 2, "images": 2}
    assert result["images"][2]["dice"] == {"background": 1.0, "cell": None}
    assert result["pooled"]["per_class"]["cell"]["dice"] == 2 / 7  # TP 1, FP 1, FN 4: not the mean over images


def test_multilabel_maps_are_counted_each_on_its_own():
    target = np.stack([grid([1, 1, 0, 255]), grid([1, 0, 0, 0])]).astype(np.float32)
    labels = np.stack([grid([1, 0, 1, 1]), grid([0, 0, 0, 0])]).astype(bool)
    result = scored(["nucleus", "membrane"], "multilabel", None, (labels, target))
    pooled = result["pooled"]
    assert pooled["per_class"]["nucleus"] == {
        "iou": 1 / 3,
        "dice": 1 / 2,
        "precision": 1 / 2,
        "recall": 1 / 2,
        "support": 2,
    }
    assert pooled["per_class"]["membrane"] == {"iou": 0, "dice": 0, "precision": None, "recall": 0, "support": 1}
    assert pooled["pixel_accuracy"] == 4 / 7
    assert pooled["mean_iou_without_background"] is None
    assert result["confusion"] is None
    assert result["images"][0]["pixels"] == 4


def test_probabilities_are_decided_by_the_threshold():
    probability, target = np.array([[0.2, 0.4, 0.3, 0.9]]), grid([0, 1, 1, 1])
    strict, lenient = (
        scored(["vessel"], "binary", None, (probability, target), threshold=threshold) for threshold in (0.5, 0.3)
    )
    assert strict["pooled"]["per_class"]["vessel"]["recall"] == 1 / 3
    assert lenient["pooled"]["per_class"]["vessel"]["recall"] == 1.0  # 0.3 itself is foreground


def test_one_name_in_the_binary_task_is_the_foreground_s():
    result = scored(["vessel"], "binary", None, (grid([1]), grid([1])))
    assert (result["classes"], result["background"]) == (["background", "vessel"], 0)


def test_tensors_count_like_arrays():
    labels, target = next(random_images(3))
    arrays = scored(["a", "b", "c"], "multiclass", None, (labels, target))
    tensors = scored(["a", "b", "c"], "multiclass", None, (torch.tensor(labels), torch.tensor(target).long()))
    assert tensors == arrays


@pytest.mark.parametrize("images", [[], [(grid([0, 1]), grid([255, 255]))]])
def test_where_nothing_is_counted_every_score_is_none(images):
    result = scored(["background", "a"], "multiclass", 0, *images)
    pooled = result["pooled"]
    assert {key: value for key, value in pooled.items() if key != "per_class"} == dict.fromkeys(
        ["mean_iou", "mean_iou_without_background", "mean_dice", "mean_dice_without_background", "pixel_accuracy"]
    )
    assert math.isnan(headline(result)[1])
    json.dumps(result, allow_nan=False)


def test_the_result_is_json_and_every_score_is_defined_in_words():
    result = scored(["a", "b", "c"], "multiclass", 0, *random_images(3))
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    figures = {*result["pooled"], *result["pooled"]["per_class"]["a"], "mean_over_images", "confusion"} - {"per_class"}
    assert figures <= result["definitions"].keys()


def test_the_headline_names_what_it_is():
    images = list(random_images(2))
    binary = scored(["background", "vessel"], "binary", 0, *images)
    assert headline(binary) == ("Dice of vessel, pooled", binary["pooled"]["per_class"]["vessel"]["dice"])
    named = scored(["background", "a"], "multiclass", 0, *images)
    assert headline(named) == ("mean IoU without background, pooled", named["pooled"]["mean_iou_without_background"])
    unnamed = scored(["a", "b"], "multiclass", None, *images)
    assert headline(unnamed) == ("mean IoU, pooled", unnamed["pooled"]["mean_iou"])


@pytest.mark.parametrize(
    ("task", "labels", "target", "message"),
    [
        (
            "multiclass",
            grid([0, 1]),
            grid([0, 1, 1]),
            r"eye 7: labels are \[1, 2\], the target is \[1, 3\]",
        ),
        ("multiclass", grid([0]), grid([0])[None], r"eye 7: target is \[1, 1, 1\]; expected \[H, W\]"),
        ("multilabel", grid([0]), grid([0]), r"eye 7: target is \[1, 1\]; expected \[2, H, W\]"),
        (
            "multiclass",
            grid([0, 7]),
            grid([0, 1]),
            r"eye 7: prediction holds class id 7; classes are 0\.\.1 \(background, vessel\)",
        ),
        ("binary", grid([0, 1]), grid([0, 2]), r"eye 7: target holds class id 2; classes are 0\.\.1"),
        ("binary", grid([0, 1]), np.array([[0, -1]]), "eye 7: target holds class id -1"),
        ("binary", grid([0, 1]), np.array([[0, 0.5]]), "eye 7: target is float64; expected whole class ids"),
        ("multiclass", np.array([[0.5]]), grid([0]), "eye 7: labels are float64; expected class ids"),
        (
            "multilabel",
            np.zeros((2, 1, 1), np.uint8),
            np.full((2, 1, 1), 3),
            "eye 7: target holds 3; a multilabel map is 0 or 1",
        ),
        (
            "multilabel",
            np.zeros((3, 1, 1), np.uint8),
            np.zeros((3, 1, 1), np.uint8),
            r"eye 7: target is \[3, 1, 1\]; expected \[2, H, W\]",
        ),
    ],
)
def test_a_wrong_image_is_named(task, labels, target, message):
    metrics = SegmentationMetrics(["background", "vessel"], task, None)
    with pytest.raises(DataError, match=message):
        metrics.update("eye 7", labels, target)
    assert metrics.compute()["images"] == []


@pytest.mark.parametrize(
    ("classes", "task", "background", "message"),
    [
        (["a", "b"], "panoptic", None, "task is 'panoptic'; expected binary, multilabel or multiclass"),
        (["a", "b"], "multiclass", 2, r"background is 2; expected an id in 0\.\.1 or None"),
        (["a", "b", "c"], "binary", 0, "3 classes named; the binary task has a background and a foreground"),
    ],
)
def test_wrong_settings_are_refused(classes, task, background, message):
    with pytest.raises(UsageError, match=message):
        SegmentationMetrics(classes, task, background)


def test_what_comes_under_the_name_before_is_a_part_of_that_image():
    metrics = SegmentationMetrics(["background", "cell"], "binary", 0)
    for name, labels, target in (("scan", [1, 1], [1, 0]), ("scan", [0, 1], [1, 255]), ("other", [1, 0], [1, 0])):
        metrics.update(name, grid(labels), grid(target))
    rows = [(row["name"], row["pixels"], row["dice"]["cell"]) for row in metrics.compute()["images"]]
    assert rows == [("scan", 3, 2 / 4), ("other", 2, 1.0)]
    assert metrics.counts[0, :, 1].tolist() == [1, 1, 1, 0]


def test_an_update_gives_the_image_s_own_counts():
    metrics = SegmentationMetrics(["background", "cell"], "binary", 0)
    metrics.update("other", np.ones((4, 4), np.uint8), np.ones((4, 4), np.uint8))
    labels, target = np.array([[1, 1, 0, 0]], np.uint8), np.array([[1, 0, 1, 255]], np.uint8)
    assert metrics.update("a", labels, target)[:, 1].tolist() == [1, 1, 1, 0]  # TP, FP, FN, TN
