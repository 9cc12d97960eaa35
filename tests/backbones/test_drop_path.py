"""Stochastic depth: whole rows fall out, the mean stays."""

import pytest
import torch

from segkit.backbones.drop_path import DropPath


def test_drop_path_zeroes_rows_and_keeps_the_mean():
    torch.manual_seed(0)
    rows = DropPath(0.25)(torch.ones(4000, 2, 3))
    assert rows.unique().tolist() == pytest.approx([0, 4 / 3])
    assert torch.equal(rows, rows[:, :1, :1].expand_as(rows))  # a row is dropped whole
    assert rows.mean().item() == pytest.approx(1, abs=0.03)


def test_drop_path_of_one_drops_all_and_eval_drops_nothing():
    x = torch.ones(3, 2)
    assert DropPath(1.0)(x).sum() == 0
    assert DropPath(1.0).eval()(x) is x
