import math

import pytest
import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F
from torchvision.ops import sigmoid_focal_loss

from segkit.training.pixel_losses import BinaryCrossEntropy, CrossEntropy, Focal


def multiclass():
    torch.manual_seed(0)
    target = torch.randint(0, 4, (2, 6, 7))
    target[:, 2] = 255
    return torch.randn(2, 4, 6, 7), target


def binary():
    logits, target = multiclass()
    return logits[:, :1], target.where(target == 255, target % 2)


def multilabel():
    torch.manual_seed(0)
    target = torch.randint(0, 2, (2, 4, 6, 7)).float()
    target[:, 1, 2] = 255
    return torch.randn(2, 4, 6, 7), target


def test_cross_entropy_is_pytorch_s_also_with_class_weights():
    logits, target = multiclass()
    torch.testing.assert_close(
        CrossEntropy("multiclass")(logits, target), F.cross_entropy(logits, target, ignore_index=255)
    )
    weights = [0.5, 1.0, 2.0, 4.0]
    torch.testing.assert_close(
        CrossEntropy("multiclass", class_weights=weights)(logits, target),
        F.cross_entropy(logits, target, weight=torch.tensor(weights), ignore_index=255),
    )


def test_cross_entropy_of_soft_targets_is_pytorch_s():
    logits, _ = multiclass()
    soft = torch.randn(2, 4, 6, 7).softmax(dim=1)
    torch.testing.assert_close(CrossEntropy("multiclass")(logits, soft), F.cross_entropy(logits, soft))


def test_cross_entropy_is_the_mean_over_counted_pixels_not_over_all():
    # mmsegmentation divides by all pixels: with three of four ignored it would report a quarter of log 2.
    target = torch.tensor([[[0, 255], [255, 255]]])
    assert CrossEntropy("multiclass")(torch.zeros(1, 2, 2, 2), target).item() == pytest.approx(math.log(2))


def test_the_mean_divides_by_the_pixels_weights():
    logits = torch.tensor([0.0, 2.0]).view(1, 1, 1, 2)
    target, weight = torch.tensor([[[1, 0]]]), torch.tensor([[[3.0, 0.5]]])
    expected = (3.0 * math.log(2) + 0.5 * math.log1p(math.exp(2))) / 3.5
    assert CrossEntropy("binary")(logits, target, weight).item() == pytest.approx(expected)


@pytest.mark.parametrize("loss", [CrossEntropy, BinaryCrossEntropy])
def test_on_sigmoid_maps_both_cross_entropies_are_pytorch_s_binary_one(loss):
    for task, (logits, target) in {"binary": binary(), "multilabel": multilabel()}.items():
        counted, truth = target.view_as(logits) != 255, target.view_as(logits).float()
        expected = F.binary_cross_entropy_with_logits(logits[counted], truth[counted])
        torch.testing.assert_close(loss(task)(logits, target), expected)


def test_bce_in_multiclass_sets_each_class_against_the_rest():
    logits, target = multiclass()
    counted = target != 255
    one_hot = F.one_hot(target[counted], 4).float()
    expected = F.binary_cross_entropy_with_logits(logits.movedim(1, -1)[counted], one_hot)
    torch.testing.assert_close(BinaryCrossEntropy("multiclass")(logits, target), expected)


def test_two_binary_class_weights_are_background_s_and_foreground_s():
    logits, target = torch.zeros(1, 1, 1, 3), torch.tensor([[[0, 0, 1]]])
    logits[..., 2] = 2.0
    surprise = [math.log(2), math.log(2), math.log1p(math.exp(-2))]
    expected = (surprise[0] + surprise[1] + 5 * surprise[2]) / (1 + 1 + 5)
    assert CrossEntropy("binary", class_weights=[1, 5])(logits, target).item() == pytest.approx(expected)


def test_a_soft_binary_target_is_the_mixture_of_both_answers():
    logits = torch.randn(1, 1, 3, 3)
    for loss in (CrossEntropy("binary"), Focal("binary", alpha=0.25)):
        yes, no = loss(logits, torch.ones(1, 3, 3).long()), loss(logits, torch.zeros(1, 3, 3).long())
        torch.testing.assert_close(loss(logits, torch.full((1, 1, 3, 3), 0.3)), 0.3 * yes + 0.7 * no)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("alpha", [None, 0.25])
def test_sigmoid_focal_is_torchvision_s(gamma, alpha):
    logits, target = multilabel()
    counted = target != 255
    expected = sigmoid_focal_loss(
        logits[counted], target[counted], alpha=-1 if alpha is None else alpha, gamma=gamma, reduction="mean"
    )
    torch.testing.assert_close(Focal("multilabel", gamma=gamma, alpha=alpha)(logits, target), expected)


def test_multilabel_focal_takes_ignored_pixels_where_smp_raises():
    logits, target = multilabel()
    with pytest.raises(IndexError):
        smp.losses.FocalLoss("multilabel", ignore_index=255)(logits, target)
    assert Focal("multilabel")(logits, target).isfinite()


def test_multiclass_focal_of_nothing_is_0_where_smp_is_nan():
    logits, target = torch.randn(1, 3, 2, 2), torch.full((1, 2, 2), 255)
    assert smp.losses.FocalLoss("multiclass", ignore_index=255)(logits, target).isnan()
    assert Focal("multiclass")(logits, target).item() == 0


def test_softmax_focal_modulates_each_pixel_by_what_its_class_lacks():
    logits, target = multiclass()
    surprise = F.cross_entropy(logits, target, ignore_index=255, reduction="none")
    modulated = (1 - (-surprise).exp()) ** 2 * surprise
    torch.testing.assert_close(Focal("multiclass", gamma=2.0)(logits, target), modulated.sum() / (target != 255).sum())
    torch.testing.assert_close(Focal("multiclass", gamma=0)(logits, target), CrossEntropy("multiclass")(logits, target))


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_gamma_below_1_has_finite_gradients_at_certainty(task):
    logits = torch.full((1, 1 if task == "binary" else 3, 1, 1), -200.0)
    logits[:, -1] = 200.0
    logits.requires_grad_()
    Focal(task, gamma=0.5)(logits, torch.full((1, 1, 1), 1 if task == "binary" else 2)).backward()
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize(
    ("task", "maps", "target", "weight", "message"),
    [
        ("binary", 2, torch.zeros(1, 3, 3).long(), None, "logits have 2 maps; the binary task has 1"),
        ("multiclass", 2, torch.zeros(1, 3, 4).long(), None, r"target is \(1, 3, 4\); expected \(1, 3, 3\)"),
        ("multiclass", 2, torch.zeros(1, 3, 3), None, "is torch.float32; class ids are integers"),
        ("multilabel", 2, torch.zeros(1, 3, 3).long(), None, r"expected \(1, 2, 3, 3\), one map for each"),
        ("multiclass", 2, torch.zeros(1, 3, 3).long(), torch.ones(3, 3), r"weight is \(3, 3\); expected \(1, 3, 3\)"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(task, maps, target, weight, message):
    for loss in (CrossEntropy(task), BinaryCrossEntropy(task)):
        with pytest.raises(ValueError, match=message):
            loss(torch.zeros(1, maps, 3, 3), target, weight)


def test_an_unknown_task_is_refused():
    with pytest.raises(ValueError, match="task is 'panoptic'; expected one of binary, multilabel, multiclass"):
        CrossEntropy("panoptic")


@pytest.mark.parametrize("loss", [CrossEntropy, BinaryCrossEntropy])
def test_weights_of_two_labels_are_each_label_s_own(loss):
    logits, target = torch.tensor([0.0, 2.0]).view(1, 2, 1, 1), torch.tensor([1.0, 0.0]).view(1, 2, 1, 1)
    expected = (math.log(2) + 5 * math.log1p(math.exp(2))) / 6
    assert loss("multilabel", class_weights=[1, 5])(logits, target).item() == pytest.approx(expected)


def test_a_soft_pixel_that_is_ignored_in_one_class_is_ignored():
    logits, soft = torch.randn(1, 3, 1, 4), torch.randn(1, 3, 1, 4).softmax(dim=1)
    marked = soft.clone()
    marked[0, 1, 0, 3] = 255
    loss = CrossEntropy("multiclass")
    torch.testing.assert_close(loss(logits, marked), loss(logits[..., :3], soft[..., :3]))


def test_focal_s_gamma_is_2_where_it_is_left_out():
    torch.testing.assert_close(Focal("multiclass")(*multiclass()), Focal("multiclass", gamma=2.0)(*multiclass()))


@pytest.mark.parametrize("alpha", [-0.1, 1.5])
def test_a_share_of_the_foreground_is_within_0_and_1(alpha):
    with pytest.raises(ValueError, match=rf"alpha is {alpha}; expected 0\.\.1"):
        Focal("binary", alpha=alpha)
    assert Focal("binary", alpha=1.0).alpha == 1
