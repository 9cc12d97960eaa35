"""A run that ends when its time is up: the clock goes on after a stop, and the schedule follows it."""

from types import SimpleNamespace

import pytest
import torch

from segkit.pretraining import allotted_time
from segkit.pretraining.allotted_time import AllottedTime
from segkit.training.optimizer import create_optimizer, schedule


@pytest.fixture
def now(monkeypatch):
    """The time, which tests set."""
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(allotted_time.time, "perf_counter", lambda: clock.now)
    return clock


def test_the_run_is_as_far_as_its_updates_or_its_time_whichever_is_further(now):
    allotted = AllottedTime(minutes=2, updates=1000)
    assert allotted.place(0) == 0
    allotted.on_train_start(None, None)
    now.now += 30  # a quarter of the time
    assert allotted.place(100) == 250
    assert allotted.place(400) == 400
    now.now += 1000
    assert allotted.place(400) == 1000


def test_the_clock_goes_on_from_a_checkpoint(now):
    first, second = AllottedTime(minutes=2, updates=1000), AllottedTime(minutes=2, updates=1000)
    first.on_train_start(None, None)
    now.now += 45
    state = first.state_dict()
    now.now += 5000  # between the processes
    second.load_state_dict(state)
    assert second.spent == 45
    second.on_train_start(None, None)
    now.now += 30
    assert second.spent == 75
    assert second.place(0) == pytest.approx(1000 * 75 / 120)


def test_it_ends_after_the_step_in_hand_with_a_last_validation(now):
    trainer, said = SimpleNamespace(should_stop=False, check_val_every_n_epoch=5, current_epoch=2), []
    allotted = AllottedTime(minutes=1, updates=10, say=said.append)
    allotted.on_train_start(None, None)
    now.now += 59
    allotted.on_train_batch_end(trainer)
    assert not trainer.should_stop
    now.now += 1
    allotted.on_train_batch_end(trainer)
    allotted.on_train_batch_end(trainer)
    assert (trainer.should_stop, trainer.check_val_every_n_epoch) == (True, 1)
    assert said == ["train.minutes=1: the time is up, in epoch 3"]


def test_the_rate_is_at_its_end_when_the_time_is_up(now):
    allotted = AllottedTime(minutes=1, updates=1000)
    optimizer = create_optimizer(torch.nn.Linear(2, 2), lr=0.5, weight_decay=0.0)
    decay = schedule(optimizer, kind="cosine", steps=1000, warmup_steps=100, place=allotted.place)
    allotted.on_train_start(None, None)
    rates = []
    for _ in range(10):  # ten updates in the whole minute
        now.now += 6
        optimizer.step()
        decay.step()
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates[0] == pytest.approx(0.5)  # a tenth of the time is the warm-up
    assert rates[4] == pytest.approx(0.25 * (1 + torch.cos(torch.tensor(torch.pi * 400 / 900)).item()))
    assert rates[-1] == pytest.approx(0, abs=1e-9)
