"""How many cores there are, in a container too."""

import os

import pytest

from segkit import cores as module
from segkit.cores import considerate_threads, container_share, cores


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, float("inf")),
        ({"cpu.max": "max 100000\n"}, float("inf")),
        ({"cpu.max": "250000 100000\n"}, 2.5),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, float("inf")),
        ({"cpu/cpu.cfs_quota_us": "50000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 0.5),
        ({"cpu.max": "damaged"}, float("inf")),
    ],
)
def test_what_a_container_may_take(files, expected, tmp_path):
    (tmp_path / "cpu").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert container_share(tmp_path) == expected


@pytest.mark.parametrize(("share", "expected"), [("max", 64), ("250000", 3), ("50000", 1), ("9900000", 64)])
def test_cores_are_those_of_the_container(share, expected, tmp_path, monkeypatch):
    (tmp_path / "cpu.max").write_text(f"{share} 100000\n")
    monkeypatch.setattr(module, "CGROUP", tmp_path)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(64)), raising=False)
    assert cores() == expected


@pytest.mark.parametrize(
    ("there", "of", "said", "expected"), [(2, 64, None, "2"), (2, 64, "7", "7"), (64, 64, None, None)]
)
def test_threads_are_no_more_than_cores_unless_it_is_said(there, of, said, expected, monkeypatch):
    monkeypatch.setattr(module, "cores", lambda: there)
    monkeypatch.setattr("os.cpu_count", lambda: of)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # so that it is brought back
    monkeypatch.delenv("OMP_NUM_THREADS")
    if said is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", said)
    considerate_threads()
    assert os.environ.get("OMP_NUM_THREADS") == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [({}, module.SPINS), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "active"}, None)],
)
def test_threads_wait_for_a_short_time_unless_it_is_said(given, expected, monkeypatch):
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.setenv(name, "1")  # so that it is brought back
        monkeypatch.delenv(name)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    considerate_threads()
    assert os.environ.get("GOMP_SPINCOUNT") == expected
