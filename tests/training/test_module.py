from types import SimpleNamespace

import pytest
import torch

from segkit import Segmenter
from segkit.errors import RecipeError
from segkit.recipe import PredictRecipe, TrainRecipe
from segkit.training.callbacks import AveragedValidation, KeepBest, Thaw, kept_weights
from segkit.training.losses import build_loss
from segkit.training.module import AUXILIARY_WEIGHT, TrainingModule
from segkit.training.progress import EpochTable


@pytest.fixture
def module():
    torch.manual_seed(0)
    segmenter = Segmenter.create(
        {"name": "stem", "width": 4, "depth": 4}, neck={"name": "unet"}, classes=2, auxiliary=2
    )
    loss = build_loss({"cross_entropy": 1.0}, task="binary", classes=2)
    return TrainingModule(segmenter, loss, TrainRecipe(ema=0.9), PredictRecipe(), updates=10)


def batch():
    generator = torch.Generator().manual_seed(1)
    return {
        "image": torch.rand(2, 3, 32, 32, generator=generator),
        "target": torch.randint(0, 2, (2, 32, 32), generator=generator),
        "depth": None,
        "weight": None,
        "name": ["a", "b"],
    }


def test_the_loss_is_the_main_one_and_a_share_of_the_auxiliary_ones(module):
    module.eval()
    given = batch()
    main, first, second = module.segmenter.forward_levels(given["image"])
    expected = module.loss(main, given["target"]) + AUXILIARY_WEIGHT / 2 * (
        module.loss(first, given["target"]) + module.loss(second, given["target"])
    )
    torch.testing.assert_close(module.training_step(given, 0), expected)


def test_a_batch_too_small_for_batchnorm_is_told(module):
    given = batch() | {"image": torch.rand(1, 3, 8, 8), "target": torch.zeros(1, 8, 8, dtype=torch.long)}
    with pytest.raises(RecipeError, match=r"a batch of 1 is too few .* train.batch of 2 or more, larger crops"):
        module.train().training_step(given, 0)


def test_validation_sees_the_averaged_weights_and_training_gets_its_own_back(module):
    own = next(module.segmenter.parameters()).detach().clone()
    with torch.no_grad():
        for parameter in module.segmenter.parameters():
            parameter.add_(1.0)
    callback = AveragedValidation()
    callback.on_validation_start(None, module)
    assert torch.equal(next(module.segmenter.parameters()), own)
    callback.on_validation_end(None, module)
    torch.testing.assert_close(next(module.segmenter.parameters()), own + 1)


@pytest.mark.parametrize(("share", "epochs", "first"), [(0.07, 100, 7), (0.5, 5, 3), (1 / 3, 3, 1), (0.55, 100, 55)])
def test_what_is_frozen_learns_from_the_epoch_that_the_share_means(share, epochs, first):
    assert Thaw(share, epochs).first == first


def test_a_member_that_diverged_in_its_first_epoch_stays_so_when_the_run_goes_on(module, tmp_path):
    table = EpochTable(tmp_path, lambda _: None)
    table.on_train_epoch_start(None, module)
    table._losses = [torch.tensor(float("nan"))]
    table.on_train_epoch_end(SimpleNamespace(current_epoch=0), module)
    assert module.diverged == "the loss is nan in epoch 1, training diverged"
    again = EpochTable(tmp_path, lambda _: None)
    again.load_state_dict(table.state_dict())
    assert (again.rows, again.resumed_at) == ([], 0.0)
    module.diverged = None
    again.on_train_start(None, module)
    assert module.diverged == "the loss is nan in epoch 1, training diverged"


def test_the_best_weights_are_kept_and_a_tie_keeps_the_earlier(module):
    best, name = KeepBest(), "head.classify.bias"
    for score, value in [(0.5, 1.0), (0.8, 2.0), (0.8, 3.0), (float("nan"), 4.0), (0.1, 5.0)]:
        module.score = ("dice", score)
        module.segmenter.head.classify.bias.data.fill_(value)
        best.on_validation_end(None, module)
    assert best.score == 0.8
    assert kept_weights(module, best)[name].item() == 2.0


def test_without_validation_the_averaged_weights_are_kept_and_without_them_the_last(module):
    bias = module.segmenter.head.classify.bias
    before = bias.detach().clone()
    bias.data.add_(1.0)
    assert torch.equal(kept_weights(module, None)["head.classify.bias"], before)
    module.average = None
    assert torch.equal(kept_weights(module, None)["head.classify.bias"], before + 1)


def test_gradients_are_clipped_to_the_recipes_norm(module):
    module.training_step(batch(), 0).mul(1e4).backward()
    module.configure_gradient_clipping()
    norm = torch.cat([p.grad.flatten() for p in module.segmenter.parameters()]).norm()
    assert norm.item() == pytest.approx(module.train_recipe.clip, rel=1e-3)


def test_a_second_heads_gradients_are_clipped_by_themselves(module):
    torch.manual_seed(0)
    own, model = module.train_recipe.clip, module.segmenter
    model.spread = torch.nn.Linear(3, 2)
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, own / 1e6)
    for parameter in model.spread.parameters():
        parameter.grad = torch.full_like(parameter, 1e3)
    module.configure_gradient_clipping()
    rest = [parameter for name, parameter in model.named_parameters() if not name.startswith("spread.")]
    assert all(torch.all(parameter.grad == own / 1e6) for parameter in rest)
    norm = torch.cat([parameter.grad.flatten() for parameter in model.spread.parameters()]).norm()
    assert norm.item() == pytest.approx(own, rel=1e-3)


def test_the_depth_head_learns_nothing_from_pictures_without_depth():
    torch.manual_seed(0)
    stem = {"name": "stem", "width": 4, "depth": 4}
    model = Segmenter.create(
        stem,
        neck={"name": "unet"},
        classes=2,
        depth=stem,
        bridge="gated",
        auxiliary=1,
        depth_auxiliary=True,
    )
    loss = build_loss({"cross_entropy": 1.0}, task="binary", classes=2)
    module = TrainingModule(model, loss, TrainRecipe(ema=0.9), PredictRecipe(), updates=10).eval()
    given = batch()
    depth = torch.rand(2, 2, 32, 32)
    depth[:, 1] = torch.tensor([1.0, 0.0]).view(2, 1, 1)  # the second picture has none
    given["depth"] = depth
    main, *rest = model.forward_levels(given["image"], depth)
    share = AUXILIARY_WEIGHT / len(rest)
    told = [given["target"]] * (len(rest) - 1) + [given["target"].clone()]
    told[-1][1] = 255
    expected = module.loss(main, given["target"]) + share * sum(
        module.loss(logits, target) for logits, target in zip(rest, told, strict=True)
    )
    torch.testing.assert_close(module.training_step(given, 0), expected)
    assert not torch.isclose(module.loss(rest[-1], given["target"]), module.loss(rest[-1], told[-1]))


def test_the_rate_rises_from_zero_and_falls_to_zero(module):
    module.train_recipe = TrainRecipe(learning_rate=0.5, warmup=0.2)
    configured = module.configure_optimizers()
    optimizer, decay = configured["optimizer"], configured["lr_scheduler"]["scheduler"]
    rates = []
    for _ in range(10):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        decay.step()
    assert rates[0] < rates[1] <= 0.5
    assert max(rates) == pytest.approx(0.5)
    assert rates[2:] == sorted(rates[2:], reverse=True)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0, abs=1e-9)


def test_weights_that_are_not_finite_are_not_kept(module):
    module.segmenter.head.classify.bias.data.fill_(float("inf"))
    module.average = None
    assert kept_weights(module, None).startswith("the last weights are not finite; lower train.learning_rate")
    best = KeepBest()
    best.weights = {"w": torch.zeros(1)}
    assert kept_weights(module, best) is best.weights
    module.diverged = "the loss is nan"
    assert kept_weights(module, None) == "the loss is nan; lower train.learning_rate, or set train.precision=fp32"
