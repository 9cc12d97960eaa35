"""Whether a fit is kept: by pictures that neither it nor the choice of it has seen."""

import math

import pytest
import torch

from segkit.combining import Mean
from segkit.fitting import judge as module
from segkit.fitting.heldout import HeldOut
from segkit.fitting.judge import folds_of, judge, loss_of
from segkit.training.losses import build_loss

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


def test_every_picture_is_judged_once_by_what_was_fitted_on_all_others():
    units = [0, 1, 1, 2]
    folds = list(folds_of(PICTURES, units))
    assert len(folds) == 3
    held = [{picture.name for picture in outside} for _, outside in folds]
    assert sorted(held, key=sorted) == [{"0"}, {"1", "2"}, {"3"}]
    for inside, outside in folds:
        assert {picture.name for picture in [*inside, *outside]} == {"0", "1", "2", "3"}
        assert not {picture.name for picture in inside} & {picture.name for picture in outside}
    assert list(folds_of(PICTURES, [5, 5, 5, 5])) == []


def test_losses_are_of_all_pixels_together_whatever_the_pictures_sizes():
    pictures = [
        HeldOut("a", torch.tensor([[[[0.9, 0.2]]]]), torch.zeros(3, 1, 2), torch.tensor([[1, 1]])),
        HeldOut("b", torch.tensor([[[[0.6], [0.7], [0.5]]]]), torch.zeros(3, 3, 1), torch.tensor([[0], [1], [0]])),
    ]
    loss = build_loss({"cross_entropy": 1.0}, task="binary", classes=2)
    nats = -sum(math.log(p) for p in (0.9, 0.2, 0.4, 0.7, 0.5)) / 5
    assert loss_of(Mean(1, 1, "binary"), pictures, loss) == pytest.approx(nats, abs=1e-6)
    other, seen = Mean(1, 1, "binary"), []

    def temper(_, inside):
        seen.append([picture.name for picture in inside])
        return 2.0

    ways = {"other": lambda _: other}
    plain = judge(other, ways, pictures, [0, 1], loss).losses["plain"]
    assert sorted(plain) == pytest.approx(sorted([loss_of(other, [each], loss) for each in pictures]))
    tempered = judge(other, ways, pictures, [0, 1], loss, temper=temper).losses["plain"]
    assert sorted(tempered) == pytest.approx(sorted([loss_of(other, [each], loss, 2.0) for each in pictures]))
    assert sorted(seen[::2]) == [["a"], ["b"]]
