import numpy as np
import pytest
import torch

from segkit.contrasting.retrieval import nearest_of, ranks, recall


def test_ranks_are_those_of_sorting():
    generator = torch.Generator().manual_seed(0)
    first, second = (torch.randn(20, 6, generator=generator) for _ in range(2))
    unit = [each.numpy() / np.linalg.norm(each.numpy(), axis=1, keepdims=True) for each in (first, second)]
    order = np.argsort(-(unit[0] @ unit[1].T), axis=1)
    expected = [int(np.flatnonzero(order[i] == i)[0]) for i in range(20)]
    assert ranks(first, second).tolist() == expected
    assert nearest_of(first, second).tolist() == order[:, 0].tolist()
    found = recall(first, second, at=(1, 5, 20))
    assert found["r5"][0] == pytest.approx(np.mean(np.array(expected) < 5))
    assert found["r20"] == (1, 1)


def test_directions_differ():
    first = torch.tensor([[1.0, 0], [0, 1]])
    second = torch.tensor([[1.0, 0.1], [1, 0.2]])
    # The second picture finds its own depth, being nearest upwards; both depths are nearest to the first picture.
    assert recall(first, second, at=(1,)) == {"r1": (1.0, 0.5)}


def test_a_space_of_one_point_finds_nothing():
    same = torch.ones(10, 3)
    assert recall(same, same) == {"r1": (0, 0), "r5": (0, 0)}


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match=r"got \[3, 2\] and \[4, 2\]"):
        ranks(torch.ones(3, 2), torch.ones(4, 2))
