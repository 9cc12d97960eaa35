"""How much memory there is to keep pictures in, in a container too."""

import pytest

from segkit import memory as module
from segkit.memory import memory, share_of_memory


@pytest.mark.parametrize(
    ("limit", "machine", "expected"),
    [
        ("max", "MemTotal:       24000 kB", 24_576_000),
        ("4096000", "MemTotal:       24000 kB", 4_096_000),
        ("99999999999", "MemTotal:       24000 kB", 24_576_000),
        (None, None, 1 << 62),
        ("4096000", "damaged", 4_096_000),
    ],
)
def test_it_is_the_machine_s_or_its_container_s(limit, machine, expected, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "LIMITS", (tmp_path / "limit", tmp_path / "none"))
    monkeypatch.setattr(module, "MACHINE", tmp_path / "meminfo")
    for name, text in (("limit", limit), ("meminfo", machine and f"{machine}\nMemFree: 1 kB\n")):
        if text is not None:
            (tmp_path / name).write_text(text)
    assert memory() == expected


def test_an_eighth_of_it_is_for_pictures(monkeypatch):
    monkeypatch.setattr(module, "memory", lambda: 800)
    assert (share_of_memory(1000), share_of_memory(99)) == (100, 99)
