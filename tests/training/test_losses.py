"""What holds for every loss, and how a recipe's terms become one; values are pinned beside each family's own file."""

import pytest
import torch

from segkit.errors import RecipeError
from segkit.training.losses import LOSSES, build_loss

CASES = [(name, task) for name in LOSSES for task in ("binary", "multilabel", "multiclass")]
every_loss = pytest.mark.parametrize(("name", "task"), CASES)


def batch(task, *, seed=0, dtype=torch.float32, size=(4, 5)):
    """Two images' logits and target, the first row of each ignored."""
    generator = torch.Generator().manual_seed(seed)
    maps = 1 if task == "binary" else 3
    logits = torch.randn(2, maps, *size, generator=generator, dtype=dtype)
    if task == "multilabel":
        target = torch.randint(0, 2, logits.shape, generator=generator).to(dtype)
        target[:, :, 0] = 255
    else:
        target = torch.randint(0, max(maps, 2), (2, *size), generator=generator)
        target[:, 0] = 255
    return logits.requires_grad_(), target


def loss_of(name, task, **options):
    return build_loss({name: options}, task=task, classes=3)


@every_loss
@pytest.mark.parametrize("per_image", [False, True])
def test_an_ignored_pixel_changes_nothing_and_learns_nothing(name, task, per_image):
    loss = loss_of(name, task, **({"per_image": per_image} if name in ("dice", "tversky", "lovasz") else {}))
    logits, target = batch(task)
    value = loss(logits, target)
    value.backward()
    assert logits.grad[:, :, 0].abs().sum() == 0
    assert logits.grad[:, :, 1:].abs().sum() > 0

    other = logits.detach().clone()
    other[:, :, 0] = 7.0
    torch.testing.assert_close(loss(other, target), value)
    torch.testing.assert_close(loss(logits[:, :, 1:], target[..., 1:, :]), value)  # as if the row were cut away


@every_loss
def test_weight_0_is_ignored_and_weight_2_counts_twice(name, task):
    loss, (logits, target) = loss_of(name, task), batch(task)
    marked = torch.where(target == 255, 0, target)
    weight = torch.ones(2, 4, 5)
    weight[:, 0] = 0
    torch.testing.assert_close(loss(logits, marked, weight), loss(logits, target))

    twice_the_last_row = torch.cat([logits, logits[:, :, 3:]], dim=2), torch.cat([target, target[..., 3:, :]], dim=-2)
    weight = torch.ones(2, 4, 5)
    weight[:, 3] = 2
    torch.testing.assert_close(loss(logits, target, weight), loss(*twice_the_last_row))


@every_loss
def test_with_every_pixel_ignored_loss_and_gradients_are_exactly_0(name, task):
    loss, (logits, target) = loss_of(name, task), batch(task)
    for arguments in [(torch.full_like(target, 255),), (target, torch.zeros(2, 4, 5))]:
        logits.grad = None
        value = loss(logits, *arguments)
        value.backward()
        assert value.shape == ()
        assert value.item() == 0
        assert logits.grad.abs().sum() == 0


def weights_for(name, task):
    """Weights of classes; None where the loss has one map alone to weigh."""
    if task == "binary":
        return None if name in ("dice", "tversky", "lovasz") else [1.0, 3.0]
    return [1.0, 2.0, 3.0]


def test_both_sides_of_a_binary_task_can_be_weighed():
    logits, target = batch("binary")
    plain, weighed = (
        build_loss({"dice": {"include_background": True}}, task="binary", classes=2, class_weights=weights)
        for weights in (None, [1.0, 9.0])
    )
    assert plain(logits, target).item() != pytest.approx(weighed(logits, target).item())
    together = build_loss({"cross_entropy": 1.0, "dice": 1.0}, task="binary", classes=2, class_weights=[1.0, 9.0])
    assert len(together.terms) == 2


@every_loss
def test_one_hot_soft_targets_are_class_ids(name, task):
    logits, target = batch(task)
    if task == "multilabel":
        ids, dense = target.to(torch.uint8), target  # uint8 maps are as good as float ones
    else:
        ids, ignored = target, target == 255
        dense = torch.nn.functional.one_hot(ids.masked_fill(ignored, 0), max(2, logits.shape[1])).movedim(-1, 1).float()
        dense = dense[:, -logits.shape[1] :].masked_fill(ignored.unsqueeze(1), 255)
    weights = weights_for(name, task)
    loss = build_loss({name: 1.0}, task=task, classes=3, class_weights=weights)
    torch.testing.assert_close(loss(logits, dense), loss(logits, ids))


@every_loss
def test_scaling_all_class_weights_changes_nothing(name, task):
    logits, target = batch(task)
    weights = weights_for(name, task)
    if weights is None:
        with pytest.raises(RecipeError, match=rf"class_weights: of a binary task {name} looks at one map"):
            build_loss({name: 1.0}, task=task, classes=3, class_weights=[1.0, 3.0])
        return
    one, ten = (
        build_loss({name: 1.0}, task=task, classes=3, class_weights=[factor * w for w in weights])(logits, target)
        for factor in (1, 10)
    )
    torch.testing.assert_close(one, ten)


@every_loss
def test_a_confident_right_answer_costs_nearly_nothing_and_a_wrong_one_much(name, task):
    logits, target = batch(task)
    truth = target.masked_fill(target == 255, 0)
    if task == "multiclass":
        truth = torch.nn.functional.one_hot(truth, 3).movedim(-1, 1)
    right = 40.0 * (2 * truth.reshape(logits.shape) - 1)
    loss = loss_of(name, task)
    assert loss(right, target).item() < 1e-5
    assert loss(-right, target).item() > 0.5


@every_loss
def test_gradients_are_the_derivatives(name, task):
    logits, target = batch(task, dtype=torch.float64, size=(2, 3))
    torch.manual_seed(0)
    weight = torch.rand(2, 2, 3, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: loss_of(name, task)(x, target, weight), logits)


@every_loss
def test_extreme_logits_give_finite_losses_and_gradients(name, task):
    logits, target = batch(task)
    for scale in (1e4, -1e4):
        extreme = (scale * logits.detach().sign()).requires_grad_()
        value = loss_of(name, task)(extreme, target)
        value.backward()
        assert value.isfinite()
        assert extreme.grad.isfinite().all()


@every_loss
def test_bfloat16_logits_under_autocast_are_computed_in_float32(name, task):
    logits, target = batch(task)
    rounded = logits.detach().bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        value = loss_of(name, task)(rounded, target)
    assert value.dtype == torch.float32
    assert torch.equal(value, loss_of(name, task)(rounded.float(), target))


@pytest.mark.parametrize("task", ["binary", "multilabel", "multiclass"])
def test_all_losses_compile_into_one_graph(task):
    logits, target = batch(task)
    loss = build_loss(dict.fromkeys(LOSSES, 1.0), task=task, classes=3)
    torch.compiler.reset()
    compiled = torch.compile(loss, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(logits, target), loss(logits, target))


def test_terms_add_up_by_their_weights():
    logits, target = batch("multiclass")
    both = build_loss({"cross_entropy": 0.5, "dice": {"weight": 2, "smooth": 3.0}}, task="multiclass", classes=3)
    expected = 0.5 * loss_of("cross_entropy", "multiclass")(logits, target)
    expected = expected + 2 * loss_of("dice", "multiclass", smooth=3.0)(logits, target)
    torch.testing.assert_close(both(logits, target), expected)


def test_a_term_of_weight_0_is_left_out():
    loss = build_loss({"cross_entropy": 1.0, "dice": 0}, task="binary", classes=2)
    assert list(loss.terms) == ["cross_entropy"]


def test_class_weights_move_with_the_module_and_stay_out_of_its_state():
    loss = build_loss({"dice": 1.0}, task="multiclass", classes=3, class_weights=[1, 2, 3])
    assert loss.state_dict() == {}
    assert [buffer.device.type for buffer in loss.to("meta").buffers()] == ["meta"]


@pytest.mark.parametrize(
    ("terms", "options", "message"),
    [
        ({"dcie": 1.0}, {}, "loss.dcie: no such loss; did you mean 'dice'?"),
        ({"dice": {"smoth": 1.0}}, {}, "loss.dice.smoth: no such option; did you mean 'smooth'?"),
        ({"dice": {"smooth": "much"}}, {}, "loss.dice.smooth: 'much'; expected a number"),
        ({"dice": {"smooth": 0}}, {}, "loss.dice: smooth: expected more than 0"),
        ({"dice": {"per_image": 1}}, {}, "loss.dice.per_image: 1; expected true or false"),
        ({"dice": {"include_background": False}}, {}, "loss.dice: include_background is false, but no class is named"),
        ({"dice": {"include_background": True}}, {"task": "multilabel"}, "a multilabel task has no background map"),
        ({"tversky": {"alpha": -1}}, {}, "loss.tversky: alpha and beta are -1 and 0.7; expected 0 or more"),
        ({"focal": {"gamma": -1}}, {}, "loss.focal: gamma is -1; expected 0 or more"),
        ({"focal": {"alpha": 0.25}}, {}, "loss.focal: alpha weighs foreground against background"),
        ({"focal": {"alpha": 25}}, {"task": "binary"}, "loss.focal: alpha is 25; expected 0..1"),
        ({"dice": -1}, {}, "loss.dice.weight: -1; expected 0 or more"),
        ({"dice": float("nan")}, {}, "loss.dice.weight: nan; expected a number"),
        ({"dice": 0}, {}, "loss: no term with a weight above 0"),
        ({"dice": 1}, {"task": "panoptic"}, "task: 'panoptic' is unknown; expected one of binary"),
        ({"dice": 1}, {"class_weights": [1, 2]}, "class_weights: 2 given; expected 3, one per class"),
        (
            {"dice": 1},
            {"task": "binary", "class_weights": [1]},
            r"class_weights: 1 given; expected 2 \(background, foreground\)",
        ),
        ({"dice": 1}, {"class_weights": [1, 2, -3]}, "expected numbers of at least 0, not all 0"),
    ],
)
def test_a_wrong_recipe_is_told_what_is_wrong(terms, options, message):
    with pytest.raises(RecipeError, match=message):
        build_loss(terms, **{"task": "multiclass", "classes": 3, **options})


@pytest.mark.parametrize("name", ["cross_entropy", "bce", "focal"])
def test_one_label_may_have_a_weight(name):
    loss = build_loss({name: 1.0}, task="multilabel", classes=1, class_weights=[2.0])
    plain = build_loss({name: 1.0}, task="multilabel", classes=1)
    logits, target = torch.zeros(1, 1, 2, 2), torch.ones(1, 1, 2, 2)
    assert plain(logits, target) > 0.1
    assert loss(logits, target).item() == pytest.approx(plain(logits, target).item())


def test_a_class_may_have_no_weight():
    assert build_loss({"dice": 1.0}, task="multiclass", classes=3, class_weights=[0, 1, 1]).terms


@pytest.mark.parametrize(
    ("terms", "options", "message"),
    [
        ({"dice": 1}, {"class_weights": [0, 0, 0]}, "expected numbers of at least 0, not all 0"),
        ({"dice": 1}, {"class_weights": [1, 2, float("inf")]}, "expected numbers of at least 0, not all 0"),
        ({"dice": {"smooth": None}}, {}, "loss.dice.smooth: None; expected a number"),
        ({"focal": {"alpha": "much"}}, {"task": "binary"}, "loss.focal.alpha: 'much'; expected a number"),
    ],
)
def test_weights_and_numbers_that_can_not_be_are_refused(terms, options, message):
    with pytest.raises(RecipeError, match=message):
        build_loss(terms, **{"task": "multiclass", "classes": 3, **options})
