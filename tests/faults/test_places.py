"""Places that can't be written to: a full disk and a read-only one. Nothing half-written stays under a final name."""

import shlex
import subprocess

import pytest
import yaml

from segkit.artifact import load
from segkit.cli.main import main

COMMANDS = {
    "train": "train demo --data cells --out {place}",
    "evaluate": "evaluate runs/demo/model cells -o {place}/report",
    "predict": "predict runs/demo/model images -o {place}/masks --overlay --probability",
    "init": "init cells --hours 0.001 -o {place}/cells.yaml",
    "check": "check cells --fix {place}/mended --yes",
    "demo": "demo --out {place}/demo",
    "ensemble": "ensemble runs/demo/model --fit cells --split train -o {place}/fitted",
    "stress": "stress runs/demo/model cells --kind noise -o {place}/stress",
}


@pytest.fixture
def mounted(tmp_path):
    """A function that mounts a file system in memory with options, and gives its folder."""
    folder = tmp_path / "mounted"
    folder.mkdir()

    def mount(options):
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            pytest.skip("no mount command")
        if done.returncode:
            pytest.skip(f"can't mount a file system in memory: {done.stderr.strip()}")
        return folder

    yield mount
    subprocess.run(["umount", "-l", str(folder)], capture_output=True, check=False)


def check(code, captured, place):
    out, err = captured
    assert code in (2, 3), err
    assert "Traceback" not in out + err
    [line] = [line for line in (out + err).splitlines() if line.startswith("error: ")][:1]
    assert str(place) in line
    for path in place.rglob("*"):
        if path.suffix == ".yaml":
            assert yaml.safe_load(path.read_text())  # whole
        if path.name == "segkit.json":
            load(path.parent)
    return line


@pytest.mark.parametrize("room", [0, 8], ids="{} KiB left".format)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_full_disk(command, room, mounted, workplace, tiny, small_demo, capfd):
    if command == "init" and room:
        pytest.skip("there is room for a recipe")
    place = mounted("size=64k")
    (place / "filling").write_bytes(bytes((64 - room) << 10))
    words = shlex.split(COMMANDS[command].format(place=place)) + list(tiny if command == "train" else ())
    assert "No space left" in check(main(words), capfd.readouterr(), place)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_read_only_place(command, mounted, workplace, tiny, small_demo, capfd):
    place = mounted("ro")
    words = shlex.split(COMMANDS[command].format(place=place)) + list(tiny if command == "train" else ())
    assert "Read-only file system" in check(main(words), capfd.readouterr(), place)
