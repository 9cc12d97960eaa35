import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from scipy.optimize import minimize_scalar

from segkit.classification import fusion
from segkit.classification.fusion import fit_fusion, kept_temperature
from segkit.errors import UsageError
from segkit.fitting.heldout import with_members
from segkit.fitting.temperature import together
from segkit.statistics import probabilities_of, tempered


def toy(noise=(2.0, 3.0, 4.0), classes=4, images=1500, seed=0):
    """Members that know the truth more or less well, each in its own noise: logits [M, N, K] and targets."""
    generator = torch.Generator().manual_seed(seed)
    target = torch.randint(classes, (images,), generator=generator)
    clean = F.one_hot(target, classes).float() * 4
    spread = torch.tensor(noise).view(-1, 1, 1)
    return clean + spread * torch.randn(len(noise), images, classes, generator=generator), target


def nll(weights, logits, target):
    w = torch.as_tensor(weights, dtype=torch.float32).view(len(logits), -1)
    mixed = (w[:, None] * logits.softmax(2)).sum(0)
    return float(F.nll_loss((mixed / mixed.sum(1, keepdim=True)).log(), target))


def test_uniform_is_uniform_and_scores_are_top_1():
    logits, target = toy()
    found = fit_fusion(logits, target, weights="uniform", temperature=False)
    torch.testing.assert_close(found.combination.weights, torch.full((3, 1), 1 / 3))
    assert found.temperatures == (1.0, 1.0, 1.0)
    assert found.temperature == 1.0
    assert found.verdict is None
    assert found.scores == pytest.approx([float((each.argmax(1) == target).float().mean()) for each in logits])


def test_weights_by_score_are_in_proportion():
    logits, target = toy()
    logits[2] = 6 * torch.randn(logits[2].shape, generator=torch.Generator().manual_seed(1))  # sure of anything
    found = fit_fusion(logits, target, weights="score", temperature=False)
    assert found.verdict.best == "score"
    scores = torch.tensor(found.scores)
    torch.testing.assert_close(found.combination.weights[:, 0], scores / scores.sum())


def test_weights_by_score_are_equal_where_every_member_is_wrong():
    logits = torch.eye(3).expand(2, 3, 3) * 5
    found = fit_fusion(logits, torch.tensor([1, 2, 0]), weights="score", temperature=False)
    assert found.combination.weights.flatten().tolist() == [0.5, 0.5]


def test_fitted_weights_lie_on_the_simplex_and_are_the_best_of_a_grid():
    logits, target = toy((1.0, 4.0, 4.0))
    found = fit_fusion(logits, target, weights="member", temperature=False)
    weights = found.combination.weights[:, 0]
    assert weights.sum().item() == pytest.approx(1)
    assert (weights >= 0).all()
    assert found.verdict.best == "shrinkage 0"
    grid = [(a, b, 1 - a - b) for a, b in itertools.product([i / 20 for i in range(21)], repeat=2) if a + b <= 1]
    assert nll(weights, logits, target) <= min(nll(each, logits, target) for each in grid) + 1e-5


def test_a_fit_that_does_no_better_than_equal_weights_is_not_kept():
    logits, target = toy((3.0, 3.0), images=60, seed=1)
    found = fit_fusion(logits, target, weights="class", temperature=False)
    assert found.verdict.best == "plain"
    assert found.verdict.reason.endswith("not kept")
    assert found.combination.weights.flatten().tolist() == [0.5, 0.5]


def test_one_weight_a_class_finds_who_knows_which_class():
    """The first member tells classes 0 and 1 apart and guesses between 2 and 3; the other the other way round."""
    generator = torch.Generator().manual_seed(0)
    target = torch.randint(4, (3000,), generator=generator)
    guess = torch.randint(2, (2, 3000), generator=generator)
    known = [torch.where(target < 2, target, 2 + guess[0]), torch.where(target < 2, guess[1], target)]
    logits = torch.stack([F.one_hot(each, 4).float() * 2 for each in known])
    plain = fit_fusion(logits, target, weights="uniform", temperature=False).combination.weights
    found = fit_fusion(logits, target, weights="class", temperature=False)
    assert found.combination.weights.shape == (2, 4)
    assert found.verdict.best != "plain"
    assert (found.combination.weights[0, :2] > 0.6).all()
    assert (found.combination.weights[1, 2:] > 0.6).all()
    assert nll(found.combination.weights, logits, target) < nll(plain, logits, target)


def test_logits_can_be_averaged_instead():
    logits, target = toy((1.0, 4.0))
    found = fit_fusion(logits, target, weights="member", of="logits", temperature=False)
    assert found.combination.name == "logit_mean"
    assert found.combination.weights[0] > 0.8


def best_temperature(logits, target):
    found = minimize_scalar(lambda log_t: float(F.cross_entropy(logits / math.exp(log_t), target)), bounds=(-3, 3))
    return math.exp(found.x)


def test_temperatures_are_those_of_scipy():
    logits, target = toy((2.0, 3.0))
    found = fit_fusion(logits * torch.tensor([2.0, 1.0]).view(2, 1, 1), target, weights="uniform")
    for place, scale in enumerate((2.0, 1.0)):
        expected = best_temperature(logits[place].double() * scale, target)
        assert found.temperatures[place] == pytest.approx(expected, rel=1e-3)
        assert kept_temperature(logits[place] * scale, target) == pytest.approx(expected, rel=1e-3)
    assert found.temperature < 1  # a mean of two is less sure than it may be


def test_a_temperature_that_helps_nobody_is_one():
    assert kept_temperature(torch.zeros(40, 3), torch.arange(40) % 3) == 1.0


def test_one_image_alone_has_nothing_to_be_judged_by():
    found = fit_fusion(torch.randn(2, 1, 3), torch.tensor([1]), weights="member")
    assert found.combination.weights.flatten().tolist() == [0.5, 0.5]
    assert found.temperatures == (1.0, 1.0)


def test_classes_beyond_255_count_like_all_others():
    """Ids of classes are not ids of pixels, where 255 means 'ignore'."""
    generator = torch.Generator().manual_seed(0)
    target = torch.full((50,), 255)
    logits = torch.randn(2, 50, 300, generator=generator)
    logits[0, :, 255] += 8
    found = fit_fusion(logits, target, weights="member", temperature=False)
    assert found.combination.weights[0] > 0.9


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weights": "gate"}, "weights='gate': expected one of uniform, score, member, class"),
        ({"of": "votes"}, "of='votes': expected one of probabilities, logits"),
        ({"target": torch.zeros(3, dtype=torch.int64)}, r"logits \[2, 4, 3\] and target \[3\]"),
        ({"target": torch.tensor([0, 1, 2, 3])}, "targets from 0 to 3; expected ids of 3 classes"),
        ({"target": torch.tensor([0, 1, 2, -1])}, "targets from -1 to 2"),
        ({"logits": torch.full((2, 4, 3), torch.nan)}, "not finite"),
    ],
)
def test_what_cannot_be_fitted_is_said_in_one_line(changes, message):
    given = {"logits": torch.zeros(2, 4, 3), "target": torch.tensor([0, 1, 2, 0]), **changes}
    with pytest.raises(UsageError, match=message):
        fit_fusion(given.pop("logits"), given.pop("target"), **given)


def test_the_whole_s_temperature_comes_from_images_that_its_weights_were_not_fitted_on(monkeypatch):
    logits, target = toy()
    asked = []
    plain = fusion._kept_temperature
    monkeypatch.setattr(
        fusion, "_kept_temperature", lambda blocks, places: asked.append(blocks) or plain(blocks, places)
    )
    found = fit_fusion(logits, target, weights="class", seed=3)
    assert found.verdict.best != "plain"
    blocks = fusion._blocks(probabilities_of(logits.movedim(2, 1), "multiclass"), target, 3)
    blocks = [with_members(b, lambda i, said: tempered(said, found.temperatures[i], "multiclass")) for b in blocks]
    seen = together(found.combination, blocks)
    for ours, theirs in zip(asked[-1], seen, strict=True):
        assert ours.members.shape == theirs.members.shape
        assert not torch.equal(ours.members, theirs.members)
