"""Losses of pairs: closed forms, groups, places, the temperature."""

import math

import pytest
import torch
import torch.nn.functional as F

from segkit.contrasting.losses import InfoNCE, MarginPairs, PairLoss


def rows(count=6, dim=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(count, dim, generator=generator, requires_grad=True) for _ in range(2))


def test_info_nce_is_the_mean_of_two_cross_entropies():
    first, second = rows()
    logits = F.normalize(first, dim=1) @ F.normalize(second, dim=1).T / 0.2
    truth = torch.arange(6)
    expected = (F.cross_entropy(logits, truth) + F.cross_entropy(logits.T, truth)) / 2
    torch.testing.assert_close(InfoNCE(temperature=0.2)(first, second), expected)


def test_info_nce_of_equal_vectors_is_the_logarithm_of_their_number():
    same = torch.ones(7, 3)
    assert float(InfoNCE()(same, same).detach()) == pytest.approx(math.log(7), rel=1e-6)


@pytest.mark.parametrize("loss", [InfoNCE(temperature=0.5), MarginPairs(margin=1.2)])
def test_lengths_and_order_of_the_pairs_mean_nothing(loss):
    first, second = rows()
    whole = loss(first, second)
    torch.testing.assert_close(loss(3 * first, second / 7), whole)
    order = torch.randperm(6)
    torch.testing.assert_close(loss(first[order], second[order]), whole)
    torch.testing.assert_close(loss(second, first), whole)


def test_all_captions_of_an_image_are_its_own_whichever_was_drawn():
    first, second = rows(3)
    group, own = torch.tensor([5, 7, 9]), torch.tensor([[5, 7], [7, -1], [9, 2]])  # the second's is the first's too
    logits = F.normalize(first, dim=1) @ F.normalize(second, dim=1).T / 0.2
    to_text = torch.tensor([[0.5, 0.5, 0], [0, 1, 0], [0, 0, 1]])
    to_image = torch.tensor([[1.0, 0, 0], [0.5, 0.5, 0], [0, 0, 1]])
    expected = (F.cross_entropy(logits, to_text) + F.cross_entropy(logits.T, to_image)) / 2
    loss = InfoNCE(temperature=0.2)
    torch.testing.assert_close(loss(first, second, group=group, own=own), expected)
    torch.testing.assert_close(loss(first, second, group=group, own=group[:, None]), loss(first, second))
    with pytest.raises(ValueError, match=r"own is \[2, 2\]; expected \[3, K\], beside group"):
        loss(first, second, group=group, own=own[:2])


def test_gradients_are_those_of_finite_differences():
    first, second = (each.detach().double().requires_grad_() for each in rows(4, 3))
    loss = InfoNCE(temperature=0.5)
    loss(first, second).backward()
    step = 1e-3
    for at in ((0, 1), (3, 2)):
        with torch.no_grad():
            moved = first.clone()
            moved[at] += step
            up = loss(moved, second)
            moved[at] -= 2 * step
            slope = (up - loss(moved, second)) / (2 * step)
        assert float(first.grad[at]) == pytest.approx(float(slope), abs=2e-4)


def test_the_temperature_is_in_the_state_dict_and_moves():
    loss = InfoNCE(temperature=0.1)
    assert loss.state_dict()["log_scale"].item() == pytest.approx(math.log(10))
    optimizer = torch.optim.SGD(loss.parameters(), lr=1.0)
    # Pairs that are right already gain by a colder one, wrong ones by a warmer one.
    for second, colder in ((torch.eye(3), True), (torch.eye(3).roll(1, 0), False)):
        before = loss.temperature
        optimizer.zero_grad()
        loss(torch.eye(3) + 0.3, second + 0.3).backward()
        optimizer.step()
        assert (loss.temperature < before) == colder


@pytest.mark.parametrize(("value", "kept"), [(9.0, 0.01), (-3.0, 1.0)])
def test_a_temperature_beyond_its_range_is_set_back_and_goes_on_learning(value, kept):
    loss = InfoNCE()
    with torch.no_grad():
        loss.log_scale.fill_(value)
    first, second = rows()
    loss(first, second).backward()
    assert loss.temperature == pytest.approx(kept, rel=1e-5)
    assert loss.log_scale.grad.abs() > 0


def test_pairs_of_a_group_belong_together():
    first, second = rows(4)
    group = torch.tensor([5, 5, 7, 9])
    logits = F.normalize(first, dim=1) @ F.normalize(second, dim=1).T / 0.5
    target = torch.tensor([[0.5, 0.5, 0, 0], [0.5, 0.5, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    expected = (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
    torch.testing.assert_close(InfoNCE(temperature=0.5)(first, second, group=group), expected)
    squared = (F.normalize(first, dim=1)[:, None] - F.normalize(second, dim=1)).square().sum(2)
    far = (1 - squared.sqrt()).clamp(min=0).square() / 2
    expected = (squared / 2)[target > 0].mean() + far[target == 0].mean()
    torch.testing.assert_close(MarginPairs(margin=1.0)(first, second, group=group), expected)


def test_places_near_in_one_picture_are_no_negatives():
    first, second = rows(4)
    place = torch.tensor([[0, 10, 10], [0, 13, 14], [0, 10, 16], [1, 10, 10]])  # 5, 6 and √13 pixels apart
    logits = F.normalize(first, dim=1) @ F.normalize(second, dim=1).T / 0.5
    near = torch.zeros(4, 4, dtype=torch.bool)
    near[0, 1] = near[1, 0] = near[1, 2] = near[2, 1] = True
    cut = logits.masked_fill(near, -torch.inf)
    truth = torch.arange(4)
    expected = (F.cross_entropy(cut, truth) + F.cross_entropy(cut.T, truth)) / 2
    loss = InfoNCE(temperature=0.5, radius=5)(first, second, place=place)
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert first.grad.isfinite().all()
    squared = (F.normalize(first, dim=1)[:, None] - F.normalize(second, dim=1)).square().sum(2)
    far = (1.5 - squared.sqrt()).clamp(min=0).square() / 2
    apart = ~near & ~torch.eye(4, dtype=torch.bool)
    expected = (squared / 2).diagonal().mean() + far[apart].mean()
    torch.testing.assert_close(MarginPairs(margin=1.5, radius=5)(first, second, place=place), expected)


def test_margin_loss_is_zero_where_pairs_meet_and_others_are_far_enough():
    first = torch.eye(3).requires_grad_()
    loss = MarginPairs(margin=1.4)(first, torch.eye(3))  # √2 apart
    loss.backward()
    assert float(loss.detach()) == pytest.approx(0, abs=1e-7)
    assert first.grad.isfinite().all()


@pytest.mark.parametrize("loss", [InfoNCE(), MarginPairs()])
def test_no_pairs_are_no_loss(loss):
    first = torch.zeros(0, 4, requires_grad=True)
    found = loss(first, torch.zeros(0, 4))
    found.backward()
    assert float(found.detach()) == 0


@pytest.mark.parametrize("loss", [InfoNCE(), MarginPairs()])
def test_autocast_changes_nothing(loss):
    first, second = rows()
    with torch.autocast("cpu", torch.bfloat16):
        cast = loss(first, second)
    assert cast.dtype == torch.float32
    torch.testing.assert_close(cast, loss(first, second))


def test_wrong_arguments_are_named():
    one = torch.zeros(3, 2)
    for make, message in (
        (lambda: InfoNCE(temperature=2), "temperature is 2; expected 0.01..1"),
        (lambda: MarginPairs(margin=0), "margin is 0; unit vectors are 0..2 apart"),
        (lambda: InfoNCE(radius=-1), "radius is -1; expected 0 or more"),
        (lambda: InfoNCE()([[1.0]], [[1.0]]), "got list and list; expected two tensors"),
        (lambda: InfoNCE()(one, one[:2]), r"got \[3, 2\] and \[2, 2\]"),
        (lambda: InfoNCE()(one, one, group=torch.zeros(2)), r"group is \[2\]; expected \[3\]"),
        (lambda: InfoNCE()(one, one, place=torch.zeros(3, 2)), r"place is \[3, 2\]; expected \[3, 3\]"),
    ):
        with pytest.raises(ValueError, match=message):
            make()
    with pytest.raises(TypeError, match="abstract"):
        PairLoss()
