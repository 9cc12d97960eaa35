import itertools
import math

import pytest
import torch
from scipy.optimize import minimize_scalar

from segkit import combining
from segkit.fitting.weights import fit_weights
from segkit.statistics import logits_of, probabilities_of
from segkit.training.losses import build_loss

BOTH = {"cross_entropy": 1.0, "dice": 1.0}


def toy(task, maps, members=3, pixels=4000, seed=0):
    """Members that know the truth more or less well, each in its own noise."""
    generator = torch.Generator().manual_seed(seed)
    if task == "multiclass":
        target = torch.randint(maps, (pixels,), generator=generator)
        clean = torch.nn.functional.one_hot(target, maps).T.float() * 4
    else:
        truth = (torch.rand(maps, pixels, generator=generator) < 0.3).float()
        target = truth[0].long() if task == "binary" else truth
        clean = (truth * 2 - 1) * 2
    noise = (
        torch.randn(members, maps, pixels, generator=generator) * torch.tensor([2.0, 3.0, 4.0])[:members, None, None]
    )
    return probabilities_of((clean + noise).reshape(members, maps, pixels), task), target


def loss_of(task, maps, terms=BOTH):
    return build_loss(terms, task=task, classes=max(maps, 2))


def mean(kind, members, maps, task, weights=None):
    return combining.create(kind, members=members, maps=maps, task=task, weights=weights)


def value(kind, weights, members, target, loss, task):
    w = torch.as_tensor(weights, dtype=torch.float32).view(len(members), -1, 1)
    if kind == "mean":
        logits = logits_of((members * w).sum(0)[None], task)
    else:
        logits = (logits_of(members, task) * w).sum(0)[None]
    return float(loss(logits[:, :, None], target[None, ..., None, :]))


@pytest.mark.parametrize("kind", ["mean", "logit_mean"])
@pytest.mark.parametrize(("task", "maps"), [("binary", 1), ("multilabel", 2), ("multiclass", 3)])
def test_fitted_weights_are_the_best_of_a_fine_grid(task, maps, kind):
    members, target = toy(task, maps)
    loss = loss_of(task, maps)
    found = fit_weights(mean(kind, 3, maps, task), members, target, loss, by_map=False, shrinkage=0)
    step = 0.02
    grid = [
        (a, b, 1 - a - b) for a, b in itertools.product(torch.arange(0, 1.001, step).tolist(), repeat=2) if a + b <= 1
    ]
    best = min(grid, key=lambda weights: value(kind, weights, members, target, loss, task))
    assert value(kind, found, members, target, loss, task) <= value(kind, best, members, target, loss, task) + 1e-5
    torch.testing.assert_close(found[:, 0], torch.tensor(best), atol=2 * step, rtol=0)
    assert found.sum().item() == pytest.approx(1)


def test_a_mean_that_may_be_sharpened_is_shared_by_equals():
    # Three equally good members in noise of their own: alone each is surer, together they are better.
    members, target = toy("binary", 1)
    members = probabilities_of(logits_of(members, "binary") / torch.tensor([1.0, 1.5, 2.0]).view(3, 1, 1), "binary")
    loss = loss_of("binary", 1)
    blank = mean("mean", 3, 1, "binary")
    free = fit_weights(blank, members, target, loss, by_map=False, shrinkage=0, tempered=True)
    plain = fit_weights(blank, members, target, loss, by_map=False, shrinkage=0)

    def at_best_temperature(weights):
        logits = logits_of((members * weights.view(3, 1, 1)).sum(0)[None], "binary")

        def at(log_temperature):  # convex
            return float(loss(logits[:, :, None] / math.exp(log_temperature), target[None, ..., None, :]))

        return minimize_scalar(at, bounds=(-2, 1), method="bounded", options={"xatol": 1e-4}).fun

    assert at_best_temperature(free) <= at_best_temperature(plain) + 1e-5
    step, grid = 0.05, torch.arange(0, 1.001, 0.05).tolist()
    others = [torch.tensor([a, b, 1 - a - b]) for a in grid for b in grid if a + b <= 1]
    best = min(others, key=at_best_temperature)
    torch.testing.assert_close(free[:, 0], best, atol=2 * step, rtol=0)


@pytest.mark.parametrize("kind", ["mean", "logit_mean"])
def test_a_member_twice_changes_no_output(kind):
    members, target = toy("binary", 1)
    loss = loss_of("binary", 1)
    once = fit_weights(mean(kind, 3, 1, "binary"), members, target, loss, by_map=False, shrinkage=0)
    doubled = members[[0, 1, 2, 0]]
    twice = fit_weights(mean(kind, 4, 1, "binary"), doubled, target, loss, by_map=False, shrinkage=0)
    space = members if kind == "mean" else logits_of(members, "binary")
    before = (space * once.view(3, 1, 1)).sum(0)
    after = (space[[0, 1, 2, 0]] * twice.view(4, 1, 1)).sum(0)
    torch.testing.assert_close(after, before, atol=2e-3, rtol=0)
    assert (twice[0] + twice[3]).item() == pytest.approx(once[0].item(), abs=2e-3)


@pytest.mark.parametrize("by_map", [False, True])
@pytest.mark.parametrize(("task", "maps"), [("binary", 1), ("multiclass", 3)])
def test_a_random_member_gets_next_to_nothing(task, maps, by_map):
    members, target = toy(task, maps, members=2)
    generator = torch.Generator().manual_seed(5)
    random = probabilities_of(torch.randn(1, maps, members.shape[-1], generator=generator) * 2, task)
    members = torch.cat([members, random])
    found = fit_weights(mean("mean", 3, maps, task), members, target, loss_of(task, maps), by_map=by_map, shrinkage=0)
    assert found.shape == (3, maps if by_map else 1)
    assert found[2].max() < 0.02


def test_one_weight_a_class_finds_who_knows_which_class():
    """The first member sees the first map well and guesses the second; the other the other way round."""
    members, target = toy("multilabel", 2, members=2)
    generator = torch.Generator().manual_seed(5)
    guess = probabilities_of(torch.randn(2, members.shape[-1], generator=generator), "multilabel")
    members[0, 1], members[1, 0] = guess
    found = fit_weights(
        mean("mean", 2, 2, "multilabel"), members, target, loss_of("multilabel", 2), by_map=True, shrinkage=0
    )
    assert found[0, 0] > 0.85
    assert found[1, 1] > 0.85


def test_shrinkage_draws_toward_equal_weights():
    members, target = toy("binary", 1)
    loss = loss_of("binary", 1)
    spread = [
        fit_weights(mean("mean", 3, 1, "binary"), members, target, loss, by_map=False, shrinkage=each).std().item()
        for each in (0, 0.1, 1, 100)
    ]
    assert spread == sorted(spread, reverse=True)
    assert spread[-1] < 0.005


def test_shrinkage_is_the_members_times_the_squared_distance_from_equal_weights():
    # The loss is 2w - 1, the penalty 2 · 2 (w - 1/2)²: least at w = 1/2 - 1/4.
    members = torch.tensor([1.0, -1.0]).sigmoid().view(2, 1, 1).repeat(1, 1, 10)
    found = fit_weights(
        mean("logit_mean", 2, 1, "binary"),
        members,
        torch.zeros(10).long(),
        lambda logits, _: logits.mean(),
        by_map=False,
        shrinkage=1.0,
    )
    assert found[:, 0].tolist() == pytest.approx([0.25, 0.75], abs=1e-3)
