"""Votes of the nearest neighbours, by hand and against scikit-learn."""

import math

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier

from segkit.errors import UsageError
from segkit.probing import neighbours
from segkit.probing.neighbours import neighbour_votes


def features(seed, count, width=12):
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed))


def test_a_neighbour_votes_by_the_exponential_of_its_cosine():
    bank = torch.tensor([[2.0, 0.0], [0.0, 3.0], [-1.0, 0.0]])
    votes = neighbour_votes(bank, torch.tensor([0, 1, 2]), torch.tensor([[5.0, 0.0]]), classes=4, k=2, temperature=0.5)
    first, second = math.exp(1 / 0.5), math.exp(0 / 0.5)  # cosines 1 and 0; the third, -1, is too far
    assert votes.tolist()[0] == pytest.approx([first / (first + second), second / (first + second), 0, 0])


def test_votes_are_shares_of_each_query():
    votes = neighbour_votes(features(0, 50), torch.arange(50) % 5, features(1, 9), classes=5)
    assert votes.shape == (9, 5)
    torch.testing.assert_close(votes.sum(1), torch.ones(9))


@pytest.mark.parametrize("k", [1, 5, 20])
def test_the_shares_are_those_of_scikit_learn(k):
    bank, labels, queries = features(0, 300), torch.arange(300) % 7, features(1, 40)
    own = neighbour_votes(bank, labels, queries, classes=7, k=k)
    peer = KNeighborsClassifier(k, metric="cosine", algorithm="brute", weights=lambda far: np.exp((1 - far) / 0.07))
    peer.fit(bank.double().numpy(), labels.numpy())
    np.testing.assert_allclose(own.numpy(), peer.predict_proba(queries.double().numpy()), atol=1e-4)


def test_queries_are_taken_in_parts_that_fit_into_memory(monkeypatch):
    bank, labels, queries = features(0, 30), torch.arange(30) % 3, features(1, 10)
    whole = neighbour_votes(bank, labels, queries, classes=3)
    monkeypatch.setattr(neighbours, "CHUNK", 90)  # three queries at a time
    torch.testing.assert_close(neighbour_votes(bank, labels, queries, classes=3), whole)


def test_of_a_small_bank_all_vote():
    votes = neighbour_votes(features(0, 3), torch.tensor([0, 0, 1]), features(1, 2), classes=2, k=20, temperature=1e6)
    torch.testing.assert_close(votes, torch.tensor([[2 / 3, 1 / 3]] * 2), atol=1e-4, rtol=0)


def test_the_smallest_temperature_doesnt_overflow():
    votes = neighbour_votes(features(0, 40), torch.arange(40) % 2, features(1, 5), classes=2, temperature=1e-4)
    assert votes.isfinite().all()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"k": 0}, "k is 0; expected 1 or more"), ({"temperature": 0.0}, "temperature is 0.0; expected more than 0")],
)
def test_settings_out_of_range_are_refused(wrong, message):
    with pytest.raises(UsageError, match=message):
        neighbour_votes(features(0, 4), torch.arange(4), features(1, 1), classes=4, **wrong)
