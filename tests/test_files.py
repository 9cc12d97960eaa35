import errno
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from segkit.errors import UsageError
from segkit.files import atomic_path, exclusive, move, writing_to


def test_the_file_is_there_whole_and_alone(tmp_path):
    with atomic_path(tmp_path / "new" / "a.txt") as temporary:
        assert temporary.suffix == ".txt"
        assert temporary.parent == tmp_path / "new"
        temporary.write_text("whole")
        assert not (tmp_path / "new" / "a.txt").exists()
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["a.txt"]
    assert (tmp_path / "new" / "a.txt").read_text() == "whole"


def test_an_exception_leaves_the_old_file_and_nothing_else(tmp_path):
    (tmp_path / "a.txt").write_text("old")

    def fail_midway():
        with atomic_path(tmp_path / "a.txt") as temporary:
            temporary.write_text("ha")
            raise RuntimeError("midway")

    with pytest.raises(RuntimeError, match="midway"):
        fail_midway()
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_a_killed_process_leaves_the_old_file(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    script = """if True:
        import os, signal, sys
        from segkit.files import atomic_path
        with atomic_path(sys.argv[1]) as temporary:
            temporary.write_text("ha")
            os.kill(os.getpid(), signal.SIGKILL)
    """
    ended = subprocess.run([sys.executable, "-c", script, str(tmp_path / "a.txt")], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert (tmp_path / "a.txt").read_text() == "old"
    assert all(p.name == "a.txt" or p.name.startswith(".") for p in tmp_path.iterdir())


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
def test_others_may_read_the_file_as_the_umask_says(tmp_path):
    with atomic_path(tmp_path / "a.txt") as temporary:
        temporary.write_text("x")
    (tmp_path / "plain.txt").write_text("x")
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("a.txt", "plain.txt")}
    assert len(modes) == 1


def test_a_fault_elsewhere_is_not_laid_on_the_place(tmp_path):
    for file in (tmp_path / "out" / "a.png", tmp_path / "out", tmp_path, tmp_path / ".half.png"):
        with (
            pytest.raises(UsageError, match=r"out: can't be written \(Permission denied\)"),
            writing_to(tmp_path / "out"),
        ):
            raise PermissionError(13, "Permission denied", str(file))
    other = tmp_path / "data" / "a.png"
    expected = pytest.raises(UsageError, match=r"a.png: can't be read or written \(Permission denied\)")
    with expected, writing_to(tmp_path / "out"):
        raise PermissionError(13, "Permission denied", str(other))


def test_a_file_system_that_can_t_flush_is_written_to_all_the_same(tmp_path, monkeypatch):
    def fails(code):
        def fsync(_descriptor):
            raise OSError(code, os.strerror(code))

        return fsync

    monkeypatch.setattr("os.fsync", fails(errno.EINVAL))
    with atomic_path(tmp_path / "a.txt") as temporary:
        temporary.write_text("whole")
    assert (tmp_path / "a.txt").read_text() == "whole"
    monkeypatch.setattr("os.fsync", fails(errno.ENOSPC))
    with pytest.raises(UsageError, match="No space left"), atomic_path(tmp_path / "b.txt") as temporary:
        temporary.write_text("whole")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_on_windows_a_name_is_given_again_while_a_scanner_holds_the_file(tmp_path, monkeypatch):
    calls, plain = [], Path.replace

    def held_twice(self, target):
        calls.append(target)
        if len(calls) < 3:
            raise PermissionError(13, "Access is denied")
        return plain(self, target)

    (tmp_path / "a").write_text("x")
    monkeypatch.setattr(Path, "replace", held_twice)
    with pytest.raises(PermissionError):
        move(tmp_path / "a", tmp_path / "b")
    calls.clear()
    monkeypatch.setattr("segkit.files.WINDOWS", True)
    monkeypatch.setattr("segkit.files.PAUSES", (0, 0))
    move(tmp_path / "a", tmp_path / "b")
    assert (len(calls), (tmp_path / "b").read_text()) == (3, "x")


def test_a_file_is_one_process_s_alone(tmp_path):
    asks = "import sys; from segkit.files import exclusive; print(exclusive(open(sys.argv[1], 'a')))"

    def asked():
        return subprocess.run([sys.executable, "-c", asks, str(tmp_path / "lock")], capture_output=True, text=True)

    with (tmp_path / "lock").open("a") as file:
        assert exclusive(file)
        assert asked().stdout == "False\n"
    assert asked().stdout == "True\n"
