import hashlib
import os
import subprocess
import sys

import pytest

from segkit.errors import UsageError
from segkit.prediction.manifest import Entry, Manifest, file_hash


def entry(name, **changes):
    facts = {"sha256": "5e", "status": "ok", "outputs": {}, "error": None, "seconds": 0.25, "run": "r"}
    return Entry(input=name, **{**facts, **changes})


def names(path):
    return [Entry.model_validate_json(line).input for line in path.read_text().splitlines()]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "manifest.jsonl"


def test_an_entry_is_a_line_that_is_there_at_once(path):
    with Manifest(path, resume=False) as manifest:
        manifest.append(entry("a.png"))
        assert path.read_text() == (
            '{"input":"a.png","sha256":"5e","status":"ok","outputs":{},"error":null,"seconds":0.25,"run":"r"}\n'
        )


def test_an_older_manifest_is_replaced_unless_it_is_resumed(path):
    with Manifest(path, resume=False) as manifest:
        manifest.append(entry("a.png"))
    with Manifest(path, resume=True) as manifest:
        assert list(manifest.earlier) == ["a.png"]
        manifest.append(entry("b.png"))
    assert names(path) == ["a.png", "b.png"]
    with Manifest(path, resume=False) as manifest:
        assert manifest.earlier == {}
        manifest.append(entry("b.png"))
        manifest.finish([entry("b.png")])
    assert names(path) == ["b.png"]


def test_what_a_killed_run_was_to_replace_is_remembered_and_not_done(path, tmp_path):
    old = entry("a.png", outputs={"a_overlay.png": "5e"})
    with Manifest(path, resume=False) as manifest:
        manifest.append(old)
        manifest.append(entry("gone.png"))
    with Manifest(path, resume=False):
        pass  # killed before its first picture
    with Manifest(path, resume=True) as manifest:
        again = manifest.before["a.png"]
        assert again.outputs == old.outputs
        assert (again.status, again.error) == ("error", "not predicted again yet")
        assert not again.is_done("5e", None, "r", tmp_path)
        manifest.append(entry("a.png"))
        manifest.finish([entry("a.png")])
    assert names(path) == ["a.png"]


def test_a_torn_last_line_is_no_entry_and_is_written_over(path):
    with Manifest(path, resume=False) as manifest:
        manifest.append(entry("a.png"))
    with path.open("ab") as file:
        file.write(b'{"input":"b.png","sha2')
    with Manifest(path, resume=True) as manifest:
        assert list(manifest.earlier) == ["a.png"]
        manifest.append(entry("c.png"))
    assert names(path) == ["a.png", "c.png"]


def test_damaged_lines_are_no_entries_and_the_last_of_an_input_counts(path):
    lines = [entry("a.png", seconds=1), '{"input": 7}', "\x00\x00", entry("a.png", seconds=2)]
    path.write_text("".join(f"{x.model_dump_json() if isinstance(x, Entry) else x}\n" for x in lines))
    with Manifest(path, resume=True) as manifest:
        assert {name: found.seconds for name, found in manifest.earlier.items()} == {"a.png": 2}


def test_at_the_end_there_is_one_line_an_input_in_their_order(path):
    with Manifest(path, resume=False) as manifest:
        for name in ("b.png", "a.png", "b.png"):
            manifest.append(entry(name))
        manifest.finish([entry("a.png"), entry("b.png")])
    assert names(path) == ["a.png", "b.png"]
    assert list(path.parent.iterdir()) == [path]


def test_nothing_to_resume(path):
    with pytest.raises(UsageError, match=r"nothing to resume: there is no .*manifest\.jsonl; leave --resume out"):
        Manifest(path, resume=True)


@pytest.mark.skipif(os.name == "nt", reason="no such locks on Windows")
def test_another_process_is_kept_out(path):
    script = "import sys; from pathlib import Path; from segkit.prediction.manifest import Manifest\n"
    script += "Manifest(Path(sys.argv[1]), resume=False)"
    with Manifest(path, resume=False) as manifest:
        manifest.append(entry("a.png"))
        done = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True, check=False)
        assert f"{path.parent}: another process is predicting into it; wait for it or end it" in done.stderr
        assert names(path) == ["a.png"]


def test_done_is_what_the_same_run_left_of_the_same_input(tmp_path):
    (tmp_path / "a_mask.png").write_bytes(b"mask")
    digest = hashlib.sha256(b"mask").hexdigest()
    assert file_hash(tmp_path / "a_mask.png") == digest
    assert file_hash(tmp_path / "absent") is None
    done = entry("a.png", outputs={"a_mask.png": digest})
    assert done.is_done("5e", None, "r", tmp_path)
    assert not done.is_done("5f", None, "r", tmp_path)
    assert not done.is_done("5e", "d0", "r", tmp_path)
    assert not done.is_done("5e", None, "another", tmp_path)
    assert not entry("a.png", status="error", error="a.png: broken").is_done("5e", None, "r", tmp_path)
    (tmp_path / "a_mask.png").write_bytes(b"other")
    assert not done.is_done("5e", None, "r", tmp_path)
    (tmp_path / "a_mask.png").unlink()
    assert not done.is_done("5e", None, "r", tmp_path)
