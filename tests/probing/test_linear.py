"""The linear probe against scikit-learn, and how its regularisation is chosen."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from segkit.errors import DataError, UsageError
from segkit.probing.linear import STRENGTHS, _held_out, choose_strength, fit_linear


def problem(classes=3, count=240, width=8, noise=1.5, seed=0):
    """Clouds around a point for each class, on features of very different sizes."""
    draw = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % classes
    centres = torch.randn(classes, width, generator=draw)
    features = centres[labels] + noise * torch.randn(count, width, generator=draw)
    return features * torch.logspace(-3, 3, width) + 5, labels


@pytest.mark.parametrize("strength", [1.0, 0.01, 1e-4])
@pytest.mark.parametrize("classes", [3, 5])
def test_the_minimum_is_scikit_learns(strength, classes):
    features, labels = problem(classes)
    own = fit_linear(features, labels, classes=classes, strength=strength)
    standard = StandardScaler().fit_transform(features.double().numpy())
    peer = LogisticRegression(C=1 / (len(labels) * strength), tol=1e-8, max_iter=10_000).fit(standard, labels.numpy())
    assert own.converged
    theirs = peer.predict_proba(standard)
    np.testing.assert_allclose(own.logits(features).softmax(1).numpy(), theirs, atol=1e-3)


def test_the_minimum_is_the_same_from_wherever_it_begins():
    features, labels = problem()
    strong = fit_linear(features, labels, classes=3, strength=1.0)
    cold = fit_linear(features, labels, classes=3, strength=0.01)
    warm = fit_linear(features, labels, classes=3, strength=0.01, start=strong)
    torch.testing.assert_close(warm.logits(features), cold.logits(features), atol=2e-3, rtol=0)


def test_a_start_at_the_minimum_stays_there():
    features, labels = problem()
    found = fit_linear(features, labels, classes=3, strength=0.1)
    again = fit_linear(features, labels, classes=3, strength=0.1, start=found)
    torch.testing.assert_close(again.weight, found.weight, atol=1e-6, rtol=1e-4)


def test_a_feature_that_never_changes_says_nothing():
    features, labels = problem()
    constant = torch.cat([features, torch.full((len(labels), 1), 0.1)], dim=1)
    with_it = fit_linear(constant, labels, classes=3, strength=0.1)
    assert with_it.weight[:, -1].tolist() == [0, 0, 0]
    without = fit_linear(features, labels, classes=3, strength=0.1)
    torch.testing.assert_close(with_it.logits(constant), without.logits(features), atol=1e-6, rtol=0)


def test_a_class_without_pictures_is_never_said():
    features, labels = problem(classes=2)
    probe = fit_linear(features, labels, classes=4, strength=1e-3)
    assert set(probe.logits(features).argmax(1).tolist()) == {0, 1}


def test_noise_is_regularised_and_signal_is_not():
    draw = torch.Generator().manual_seed(0)
    labels = torch.arange(200) % 2
    noise = torch.randn(200, 150, generator=draw)
    clear = torch.randn(200, 4, generator=draw) * 0.1 + labels[:, None]
    noisy = torch.cat([noise, clear[:, :1] + torch.randn(200, 1, generator=draw)], dim=1)
    of_noise, searched = choose_strength(noisy, labels, classes=2)
    assert of_noise >= 1e-2
    assert sorted(searched) == sorted(STRENGTHS)
    assert choose_strength(clear, labels, classes=2)[1][1e-2] == 1.0


def test_of_equals_the_strongest_is_chosen():
    labels = torch.arange(60) % 2
    features = labels[:, None] * torch.tensor([[1.0, 2.0]]) + 0.01 * torch.randn(
        60, 2, generator=torch.Generator().manual_seed(0)
    )
    chosen, searched = choose_strength(features, labels, classes=2)
    assert set(searched.values()) == {1.0}
    assert chosen == max(STRENGTHS)


def test_a_fifth_of_every_class_is_held_out_and_never_all_of_it():
    labels = torch.tensor([0] * 50 + [1] * 10 + [2] * 2 + [3])
    held_out = _held_out(labels, seed=0)
    counts = [int(held_out[labels == label].sum()) for label in range(4)]
    assert counts == [10, 2, 1, 0]
    assert torch.equal(held_out, _held_out(labels, seed=0))
    assert not torch.equal(held_out, _held_out(labels, seed=1))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"strength": -1.0}, UsageError, "strength is -1.0; expected 0 or more"),
        ({"features": torch.full((4, 2), torch.nan)}, DataError, "some features are not finite"),
    ],
)
def test_what_cant_be_fitted_is_refused(change, error, message):
    given = {"features": torch.randn(4, 2), "strength": 1.0, **change}
    with pytest.raises(error, match=message):
        fit_linear(given["features"], torch.tensor([0, 1, 0, 1]), classes=2, strength=given["strength"])


def test_too_few_pictures_to_choose_by_are_refused():
    with pytest.raises(DataError, match="3 labelled pictures are too few"):
        choose_strength(torch.randn(3, 2), torch.arange(3), classes=3)
