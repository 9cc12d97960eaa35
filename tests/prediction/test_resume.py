"""Runs of the real command over many files, some of them damaged, killed and resumed."""

import io
import json
import os
import random
import signal
import struct
import subprocess
import sys
import time

import numpy as np
import pytest
import tifffile
from PIL import Image

SIDE = 40
DAMAGES = 10
COMMAND = [sys.executable, "-c", "from segkit.cli.main import run; run()", "predict", "runs/demo/model", "many"]

pytestmark = pytest.mark.skipif(os.name == "nt", reason="no SIGKILL on Windows")


def encoded(pixels, format="PNG"):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format)
    return buffer.getvalue()


def damaged(number, whole):
    """Bytes and suffix of a file that can't be predicted, of ten kinds."""
    tiff = io.BytesIO()
    values = np.full((SIDE, SIDE), np.nan, np.float32) if number % 2 else np.zeros((SIDE, SIDE, 2), np.uint8)
    tifffile.imwrite(tiff, values, photometric="minisblack", planarconfig=None if number % 2 else "contig")
    bomb = whole[:16] + struct.pack(">II", 50_000, 50_000) + whole[24:]
    jpeg = encoded(np.zeros((SIDE, SIDE, 3), np.uint8), "JPEG")
    kinds = [
        (whole[: len(whole) // 2], "png"),
        (tiff.getvalue(), "tif"),
        (b"", "png"),
        (tiff.getvalue(), "tiff"),
        (b"hello, I am text", "png"),
        (whole.replace(b"IDAT", b"IDAX"), "png"),
        (bomb, "png"),
        (jpeg[: len(jpeg) - 2], "jpg"),
        (encoded(np.zeros((SIDE, SIDE), np.uint8), "GIF"), "png"),
        (tiff.getvalue()[:-100], "tif"),
    ]
    return kinds[number % DAMAGES]


@pytest.fixture
def many(workplace):
    """A function that makes so many small pictures, of which every so-manieth is damaged."""

    def make(count, every):
        rng = np.random.default_rng(0)
        for number in range(count):
            whole = encoded(rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8))
            data, suffix = damaged(number // every, whole) if number % every == every - 1 else (whole, "png")
            path = workplace / "many" / f"part_{number % 3}" / f"{number:03}.{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return workplace

    return make


def predict(folder, out, *options):
    words = [*COMMAND, "-o", out, "--entropy", *options]
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)


def killed(folder, out, *options, after):
    """Start the command, and kill it when its manifest has so many lines."""
    words = [*COMMAND, "-o", out, "--entropy", *options]
    process = subprocess.Popen(words, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    manifest = folder / out / "manifest.jsonl"
    while process.poll() is None and (not manifest.is_file() or manifest.read_bytes().count(b"\n") < after):
        time.sleep(0.001)
    time.sleep(random.Random(after).random() / 50)  # not always at the same place of a picture
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL


def left(folder):
    """Every file below a folder; of the manifest what doesn't tell the time."""
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    lines = [json.loads(line) for line in files.pop("manifest.jsonl").splitlines()]
    return files, [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


def check(folder, count, every):
    whole = predict(folder, "whole")
    assert whole.returncode == 3
    bad = count // every
    assert whole.stdout.startswith(f"{count - bad} of {count} pictures predicted into whole in ")
    assert len(whole.stderr.splitlines()) == bad

    killed(folder, "resumed", after=count // 4)
    assert len(left_lines(folder / "resumed")) < count
    killed(folder, "resumed", "--resume", after=count // 2)
    resumed = predict(folder, "resumed", "--resume")
    assert resumed.returncode == 3
    assert ", " in resumed.stdout.rpartition(" s")[2]
    assert resumed.stdout.endswith(" of them by an earlier run\n")
    assert resumed.stderr == whole.stderr

    files, lines = left(folder / "resumed")
    assert (files, lines) == left(folder / "whole")
    assert len(lines) == count
    assert sum(line["status"] == "error" for line in lines) == bad
    assert [line["input"] for line in lines] == sorted(line["input"] for line in lines)


def left_lines(out):
    return (out / "manifest.jsonl").read_bytes().splitlines()


def test_a_run_killed_twice_ends_as_if_nothing_had_happened(many):
    check(many(40, 4), 40, 4)


@pytest.mark.slow
def test_two_hundred_files_of_which_twenty_are_damaged(many):
    check(many(200, 10), 200, 10)
