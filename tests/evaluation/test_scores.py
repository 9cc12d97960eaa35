"""Scores of many sets of counts are those of SegmentationMetrics, one by one."""

import numpy as np
import pytest

from segkit.evaluation.metrics import SegmentationMetrics
from segkit.evaluation.scores import image_score_name, image_scores, overlap_scores


def random_metrics(classes, background, images=5):
    generator, metrics = np.random.default_rng(0), SegmentationMetrics(classes, "multiclass", background)
    for i in range(images):
        target = generator.integers(0, len(classes) - 1, (6, 7))  # the last class is in no truth
        labels = np.where(generator.random((6, 7)) < 0.7, target, generator.integers(0, len(classes) - 1, (6, 7)))
        metrics.update(f"image{i}", labels, target)
    return metrics


@pytest.mark.parametrize("background", [None, 0])
def test_pooled_and_per_image(background):
    metrics = random_metrics(["a", "b", "c", "d"], background)
    result, pooled = metrics.compute(), overlap_scores(metrics.counts.sum(0), metrics.kept)
    for k, name in enumerate(metrics.classes):
        for score in ("dice", "iou", "precision", "recall"):
            expected = result["pooled"]["per_class"][name][score]
            assert pooled[score][k] == pytest.approx(np.nan if expected is None else expected, nan_ok=True)
    names = {key for key in result["pooled"] if key.startswith("mean_") and result["pooled"][key] is not None}
    assert names == {key for key in pooled if key.startswith("mean_")}
    for name in names:
        assert pooled[name] == pytest.approx(result["pooled"][name])
    each = overlap_scores(metrics.counts, metrics.kept)["dice"]
    assert each[2].tolist()[:3] == pytest.approx([result["images"][2]["dice"][name] for name in "abc"])
    assert np.isnan(each[:, 3]).all()


def test_an_image_is_judged_by_its_foreground_s_dice_or_its_mean_iou():
    counts = np.array([[[8, 1], [1, 2], [2, 1], [1, 8]]])
    assert image_scores(counts, "binary", [1]).tolist() == [2 / 5]
    assert image_scores(counts, "multiclass", [1]).tolist() == [1 / 4]
    assert image_scores(counts, "multilabel", [0, 1])[0] == pytest.approx((8 / 11 + 1 / 4) / 2)
    assert image_score_name("binary", ["background", "cell"], 0) == "Dice of cell"
    assert image_score_name("multiclass", ["a", "b"], None) == "mean IoU"
    assert image_score_name("multiclass", ["a", "b"], 1) == "mean IoU without background"
