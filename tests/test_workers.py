"""How many processes read for a training."""

import shutil
from types import SimpleNamespace

import pytest
import torch

from segkit import workers
from segkit.workers import loader_workers, shared_memory

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.fixture(autouse=True)
def machine(monkeypatch):
    """Six cores, and as much shared memory as is asked for."""
    monkeypatch.setattr(workers, "cores", lambda: 6)
    monkeypatch.setattr(workers, "shared_memory", lambda: 1 << 40)
    return monkeypatch


def test_they_are_as_many_as_wanted(machine):
    machine.setattr(workers, "shared_memory", lambda: 0)
    assert loader_workers(7, CPU, 1 << 30) == 7


@pytest.mark.parametrize(("cores", "device", "expected"), [(6, CPU, 3), (64, CPU, 4), (6, GPU, 5), (64, GPU, 12)])
def test_by_themselves_they_go_by_the_cores(cores, device, expected, machine):
    machine.setattr(workers, "cores", lambda: cores)
    assert loader_workers("auto", device, 1) == expected


@pytest.mark.parametrize(("free", "expected"), [(100, 3), (88, 3), (87, 2), (63, 2), (62, 1), (38, 1), (37, 0), (0, 0)])
def test_their_batches_fit_into_shared_memory(free, expected, machine):
    machine.setattr(workers, "shared_memory", lambda: free)
    assert loader_workers("auto", CPU, 10) == expected  # two of 10 bytes each and one in hand, of four fifths


def test_shared_memory_is_what_its_file_system_has_left(monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free={"/dev/shm": 5}[path]))
    assert shared_memory() == 5
    monkeypatch.setattr(workers, "SHARED_MEMORY", "/nowhere at all")
    monkeypatch.undo()
    monkeypatch.setattr(workers, "SHARED_MEMORY", "/nowhere at all")
    assert shared_memory() > 1 << 60


@pytest.mark.parametrize(
    ("cores", "device", "expected"), [(1, CPU, 0), (2, CPU, 0), (3, CPU, 1), (6, CPU, 3), (2, GPU, 1)]
)
def test_two_cores_need_none_where_pictures_lie_decoded(cores, device, expected, machine):
    machine.setattr(workers, "cores", lambda: cores)
    assert loader_workers("auto", device, 1, decoded=True) == expected
    assert loader_workers("auto", device, 1) == max(expected, cores // 2 if device == CPU else 1)
