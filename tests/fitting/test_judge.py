"""Whether a fit is kept: by pictures that neither it nor the choice of it has seen."""

import torch

from segkit.combining import Mean
from segkit.fitting import judge as module
from segkit.fitting.heldout import HeldOut
from segkit.fitting.judge import judge

PICTURES = [HeldOut(str(i), torch.full((1, 1, 1, 1), 0.5), torch.zeros(3, 1, 1), torch.zeros(1, 1)) for i in range(4)]


def judged(monkeypatch, **losses):
    """The verdict on ways that have these losses on as many folds."""
    calls = {name: iter(each) for name, each in losses.items()}
    monkeypatch.setattr(module, "_judged", lambda combination, *_: next(calls[combination.called]))

    def way(name):
        found = Mean(1, 1, "binary")
        found.called = name
        return found

    ways = {name: (lambda _, name=name: way(name)) for name in losses if name != "plain"}
    count = len(losses["plain"])
    return judge(way("plain"), ways, PICTURES[:count], range(count), torch.nn.BCEWithLogitsLoss())


def test_the_smallest_of_several_losses_is_no_proof(monkeypatch):
    verdict = judged(monkeypatch, plain=(1, 1, 1), a=(0.7, 0.9, 1.3), b=(1.3, 0.7, 0.9), c=(0.9, 1.3, 0.7))
    assert verdict.best == "plain"
    assert verdict.reason.startswith("loss on pictures it wasn't fitted on 1.3000, against 1.0000 of equal weights")


def test_one_way_that_is_better_is_kept(monkeypatch):
    verdict = judged(monkeypatch, plain=(1, 1, 1), a=(0.8, 0.9, 1.1))
    assert verdict.best == "a"
    assert verdict.reason.endswith("0.9333, against 1.0000 of equal weights, better in 2 of 3 folds")


def test_of_ways_that_are_better_everywhere_the_best_is_kept(monkeypatch):
    assert judged(monkeypatch, plain=(1, 1, 1), a=(0.8, 0.8, 0.8), b=(0.7, 0.7, 0.7)).best == "b"


def test_better_in_half_of_the_folds_or_worse_on_average_is_not_kept(monkeypatch):
    assert judged(monkeypatch, plain=(1, 1, 1, 1), a=(0.5, 0.5, 1.1, 1.1)).best == "plain"
    assert judged(monkeypatch, plain=(1, 1, 1), a=(0.9, 0.9, 2.0)).best == "plain"
