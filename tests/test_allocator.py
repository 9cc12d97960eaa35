"""Freed memory is used again while asked for, and only then."""

import subprocess
import sys
import threading
from types import SimpleNamespace

import numpy as np
import pytest

import segkit
from segkit import Predictor, Segmenter, allocator
from segkit.allocator import REUSING, USUAL, reused_memory
from segkit.data.synthetic import draw_cells


@pytest.fixture
def calls(monkeypatch):
    """What the C library is told, in order."""
    told = []
    library = SimpleNamespace(
        mallopt=lambda option, value: told.append((option, value)), malloc_trim=lambda _: told.append("trim")
    )
    monkeypatch.setattr(allocator, "_glibc", lambda: library)
    return told


FAULTS = """
import resource
import numpy as np
from segkit.allocator import reused_memory

def faults_of_a_large_array():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.empty(1 << 26, np.uint8).fill(1)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

with reused_memory():
    faults_of_a_large_array()
    print(faults_of_a_large_array())
faults_of_a_large_array()
print(faults_of_a_large_array())
"""


@pytest.mark.skipif(allocator._glibc() is None, reason="needs glibc")
def test_a_large_array_after_another_costs_no_new_pages():
    """In a process of its own, whose heap nothing else has been in."""
    done = subprocess.run([sys.executable, "-c", FAULTS], check=True, capture_output=True, text=True)
    inside, outside = map(int, done.stdout.split())
    assert inside < 10
    assert outside > 20  # 32 where pages are of 2 MiB, 16384 of 4 KiB


def test_the_last_to_leave_sets_it_back(calls):
    @reused_memory()
    def work():
        assert calls == list(REUSING.items())

    with reused_memory():
        work()
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert calls == list(REUSING.items())
    assert calls == [*REUSING.items(), *USUAL.items()]


def test_after_an_error_too_and_after_long_work_memory_is_returned(calls, monkeypatch):
    monkeypatch.setattr(allocator, "LONG", -1.0)
    with pytest.raises(ValueError, match="no"), reused_memory():
        raise ValueError("no")
    assert calls == [*REUSING.items(), *USUAL.items(), "trim"]


def test_predicting_and_evaluating_do_it(calls, tmp_path):
    model, inside = Segmenter.create({"name": "stem", "width": 4}, neck="unet", classes=["background", "cell"]), []
    model.register_forward_pre_hook(lambda *_: inside.append(allocator._inside))
    cells = draw_cells(tmp_path / "cells", images=6, size=32)
    predictor = Predictor(model)
    for work in (lambda: predictor.predict(np.zeros((32, 32, 3), np.uint8)), lambda: segkit.evaluate(model, cells)):
        inside.clear()
        work()
        assert inside[-1] == 1


def test_another_c_library_is_left_alone(monkeypatch):
    monkeypatch.setattr(allocator, "_glibc", lambda: None)
    with reused_memory():
        assert allocator._inside == 0
