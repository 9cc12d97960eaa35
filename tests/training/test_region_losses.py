import pytest
import segmentation_models_pytorch as smp
import torch

from segkit.training.region_losses import Dice, Lovasz, Tversky


def logit(*probabilities):
    """[1, 1, 1, N] logits of these foreground probabilities."""
    return torch.tensor(probabilities).logit().view(1, 1, 1, -1)


def row(*ids):
    return torch.tensor(ids).view(1, 1, -1)


def multiclass(classes=4):
    torch.manual_seed(0)
    target = torch.randint(0, classes, (2, 6, 7))
    target[:, 2] = 255
    return torch.randn(2, classes, 6, 7), target


# Dice and Tversky


def test_dice_by_hand():
    # Overlap 0.8 + 0.4, sizes 0.8 + 0.4 + 0.3 and 2: 1 − (2·1.2 + 1) / (1.5 + 2 + 1).
    assert Dice("binary")(logit(0.8, 0.4, 0.3), row(1, 1, 0)).item() == pytest.approx(1 - 3.4 / 4.5)


def test_tversky_by_hand():
    # TP 1.2, FP 0.3, FN 0.8.
    loss = Tversky("binary", alpha=0.3, beta=0.7, smooth=0.5)
    expected = 1 - (1.2 + 0.5) / (1.2 + 0.3 * 0.3 + 0.7 * 0.8 + 0.5)
    assert loss(logit(0.8, 0.4, 0.3), row(1, 1, 0)).item() == pytest.approx(expected)


def test_where_every_class_occurs_and_none_is_ignored_the_values_are_smp_s():
    logits, target = multiclass()
    target[target == 255] = 0
    tversky = smp.losses.TverskyLoss("multiclass", smooth=2.0, alpha=0.3, beta=0.7)(logits, target)
    torch.testing.assert_close(Tversky("multiclass", smooth=2.0, alpha=0.3, beta=0.7)(logits, target), tversky)
    dice = smp.losses.DiceLoss("multiclass", smooth=2.0)(logits, target)  # adds smooth to TP, we to 2·TP
    torch.testing.assert_close(Dice("multiclass", smooth=4.0)(logits, target), dice)


def test_false_positives_of_an_absent_class_cost_where_smp_gives_0():
    logits, target = torch.full((1, 1, 8, 8), 5.0, requires_grad=True), torch.zeros(1, 8, 8, dtype=torch.long)
    assert smp.losses.DiceLoss("binary")(logits, target.unsqueeze(1)).item() == 0
    loss = Dice("binary")(logits, target)
    false_positives = 64 * torch.tensor(5.0).sigmoid()
    assert loss.item() == pytest.approx((false_positives / (false_positives + 1)).item())
    loss.backward()
    assert (logits.grad > 0).all()


def test_an_absent_class_that_is_not_predicted_costs_nothing():
    assert Dice("binary")(torch.full((1, 1, 8, 8), -30.0), torch.zeros(1, 8, 8).long()).item() == pytest.approx(
        0, abs=1e-9
    )


def test_255_is_no_class():
    # mmsegmentation's Dice treats the ignored index as a class, and counts what is predicted there.
    logits = torch.zeros(1, 2, 1, 4)
    logits[0, :, 0] = torch.tensor([[30.0, -30.0, 30.0, 30.0], [-30.0, 30.0, -30.0, -30.0]])
    assert Dice("multiclass")(logits, row(0, 1, 255, 255)).item() == pytest.approx(0, abs=1e-6)


def test_a_soft_target_is_met_best_by_its_own_probabilities():
    target = torch.tensor([0.2, 0.9, 0.6]).view(1, 1, 1, 3)
    loss = Dice("binary")
    assert loss(target.logit(), target).item() == pytest.approx(0, abs=1e-6)
    assert loss(logit(0.001, 0.999, 0.999), target).item() > 0.1  # Σ p·t would call this the better answer


def test_the_background_is_scored_in_multiclass_unless_left_out():
    logits, target = multiclass(classes=3)
    alone = [Dice("multiclass", class_weights=[float(k == c) for k in range(3)])(logits, target) for c in range(3)]
    torch.testing.assert_close(Dice("multiclass")(logits, target), sum(alone) / 3)
    without = Dice("multiclass", background=1, include_background=False)(logits, target)
    torch.testing.assert_close(without, (alone[0] + alone[2]) / 2)


def test_the_background_is_left_out_in_binary_unless_included():
    logits, target = logit(0.8, 0.4, 0.3), row(1, 1, 0)
    foreground = Dice("binary")(logits, target).item()
    background = Dice("binary")(-logits, 1 - target).item()
    both = Dice("binary", include_background=True)(logits, target).item()
    assert both == pytest.approx((foreground + background) / 2)
    weighted = Dice("binary", include_background=True, class_weights=[1, 3])(logits, target).item()
    assert weighted == pytest.approx((3 * foreground + background) / 4)


@pytest.mark.parametrize("loss", [Dice, Tversky, Lovasz])
def test_per_image_is_the_mean_over_the_images_with_anything_to_count(loss):
    logits, target = multiclass()
    target[1] = 255
    alone = loss("multiclass")(logits[:1], target[:1])
    torch.testing.assert_close(loss("multiclass", per_image=True)(logits, target), alone)
    target[1] = target[0].flip(0)
    other = loss("multiclass")(logits[1:], target[1:])
    torch.testing.assert_close(loss("multiclass", per_image=True)(logits, target), (alone + other) / 2)


# Lovász


def choquet_integral(errors, truth, size):
    """∫ Δ({pixels with error > θ}) dθ with the Jaccard loss Δ of exactly those pixels being wrong: the definition."""
    total, below = 0.0, 0.0
    for level in sorted(set(errors)):
        wrong = {i for i, error in enumerate(errors) if error > below}
        true = {i for i, t in enumerate(truth) if t}
        union = sum(size[i] for i in true | wrong)
        missed = sum(size[i] for i in wrong)
        total += (level - below) * (missed / union if union else 0.0)
        below = level
    return total


@pytest.mark.parametrize("seed", range(5))
def test_lovasz_hinge_is_the_integral_over_level_sets(seed):
    torch.manual_seed(seed)
    logits, target = 2 * torch.randn(1, 1, 3, 3, dtype=torch.float64), torch.randint(0, 2, (1, 3, 3))
    weight = torch.rand(1, 3, 3, dtype=torch.float64) if seed % 2 else torch.ones(1, 3, 3, dtype=torch.float64)
    target[0, 0, 0], weight[0, 2, 2] = 255, 0.0
    size = (weight * (target != 255)).flatten().tolist()
    truth = [t == 1 for t in target.flatten().tolist()]
    hinge = [max(0.0, 1 - x * (1 if t else -1)) for x, t in zip(logits.flatten().tolist(), truth, strict=True)]
    expected = choquet_integral(hinge, truth, size)
    assert Lovasz("binary")(logits, target, weight).item() == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(3))
def test_lovasz_softmax_is_the_mean_integral_of_the_classes_that_occur(seed):
    torch.manual_seed(seed)
    logits, target = torch.randn(1, 4, 3, 3, dtype=torch.float64), torch.randint(0, 3, (1, 3, 3))
    probability = logits.softmax(dim=1)
    expected = []
    for k in target.unique().tolist():
        truth = [t == k for t in target.flatten().tolist()]
        errors = [abs(t - p) for t, p in zip(truth, probability[0, k].flatten().tolist(), strict=True)]
        expected.append(choquet_integral(errors, truth, [1.0] * 9))
    assert Lovasz("multiclass")(logits, target).item() == pytest.approx(sum(expected) / len(expected))


def test_on_certain_answers_lovasz_is_the_jaccard_loss():
    # Predicted {0, 1}, true {1, 2, 3}: intersection 1, union 4; with the other class' 2 of 4 alike.
    certain = 60.0 * torch.tensor([[-1.0, -1, 1, 1, 1], [1, 1, -1, -1, -1]]).view(1, 2, 1, 5)
    target = row(0, 1, 1, 1, 0)
    expected = ((1 - 1 / 4) + (1 - 1 / 4)) / 2
    assert Lovasz("multiclass")(certain, target).item() == pytest.approx(expected)


@pytest.mark.parametrize("mode", ["binary", "multiclass"])
def test_without_absent_classes_lovasz_is_smp_s(mode):
    logits, target = multiclass(classes=2)
    logits = logits[:, :1] if mode == "binary" else logits
    expected = smp.losses.LovaszLoss(mode, per_image=False, ignore_index=255)(logits, target)
    torch.testing.assert_close(Lovasz(mode)(logits, target), expected)


def test_lovasz_of_nothing_is_a_scalar_0_where_smp_s_is_empty():
    logits, target = torch.randn(1, 3, 2, 2), torch.full((1, 2, 2), 255)
    theirs = smp.losses.LovaszLoss("multiclass", ignore_index=255)(logits, target)
    assert theirs.numel() == 0
    ours = Lovasz("multiclass")(logits, target)
    assert ours.shape == ()
    assert ours.item() == 0


def test_lovasz_decides_a_soft_target_first():
    logits = torch.randn(1, 3, 2, 2)
    soft = torch.randn(1, 3, 2, 2).softmax(dim=1)
    torch.testing.assert_close(Lovasz("multiclass")(logits, soft), Lovasz("multiclass")(logits, soft.argmax(dim=1)))
    torch.testing.assert_close(Lovasz("multilabel")(logits, soft), Lovasz("multilabel")(logits, (soft >= 0.5).float()))


@pytest.mark.parametrize("task", ["binary", "multilabel"])
def test_lovasz_hinge_without_any_foreground_costs_what_is_predicted(task):
    logits = torch.full((1, 1, 2, 3), 2.0, requires_grad=True)
    loss = Lovasz(task)(logits, row(0, 0, 0, 0, 0, 0).view(1, 2, 3) if task == "binary" else torch.zeros(1, 1, 2, 3))
    loss.backward()
    assert loss.item() == pytest.approx(3)  # a hinge of 1 + 2
    assert logits.grad.sum().item() == pytest.approx(1)


def test_a_named_background_is_left_out_only_where_that_is_asked_for():
    logits, target = multiclass(classes=3)
    for loss in (Dice, Tversky):
        torch.testing.assert_close(loss("multiclass", background=1)(logits, target), loss("multiclass")(logits, target))
    binary = logit(0.8, 0.4, 0.3), row(1, 1, 0)
    torch.testing.assert_close(Dice("binary", background=0, include_background=False)(*binary), Dice("binary")(*binary))


def test_tversky_s_options_where_they_are_left_out():
    named = Tversky("multiclass", alpha=0.3, beta=0.7, smooth=1.0)
    torch.testing.assert_close(Tversky("multiclass")(*multiclass()), named(*multiclass()))


def test_a_class_of_one_counted_pixel_counts():
    target = row(1, 255, 255)
    alone = Dice("binary")(logit(0.4, 0.9, 0.9), target).item()
    assert alone == pytest.approx(1 - (2 * 0.4 + 1) / (0.4 + 1 + 1))
