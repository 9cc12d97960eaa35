"""Ten thousand damaged files: nothing but a result or one of segkit's own errors, in bounded time and memory.

    python benchmarks/fuzz.py [--count 10000] [--commands 50] [--real DATA] [--only recipe dataset model picture]

Good files are made first: a dataset of drawn cells, a picture as PNG, JPEG, TIFF, WebP and BMP, volumes (NIfTI, NRRD,
MetaImage, a DICOM series), recipes (those that are shipped), and a small saved ensemble. With --real, a folder of real
datasets, so are a picture a split of each of them, one picture or volume of each to predict, and DICOM files. Input i
is drawn by (seed, i): one of these, one of its files, and one to three changes to that: bytes turned, cut off, put in
twice, zeroed or exchanged; in text also keys and values exchanged for others, numbers for huge or negative ones, and
lines lost or moved. Then, by what the file belongs to:

* ``recipe``: ``load_recipe``; ``dataset``: ``open_dataset`` and ``segkit.check``; ``model``: ``segkit.load`` and one
  prediction; ``picture``: ``Predictor.predict_files`` of a picture or volume.

A finding is an error that isn't a ``SegkitError``, a process that dies, more than --seconds (10) or 2 GiB, a file
written outside the output folder, or a hidden one left in it. Inputs run in forks of one process, some dozens each.
Before them come --documents of each kind that Hypothesis writes (``fuzz_documents.py``), which are counted beside them.

The next --commands inputs go through the program itself, each a process: ``segkit config show``, ``segkit check`` and
``segkit predict``. There any exit but 0, or 2 or 3 with a line that begins with ``error:`` or the report of
``check``, and any traceback or warning is a finding, too. The summary goes to ``benchmarks/results/fuzz.json``. About a
quarter of an hour on one core.
"""

import argparse
import faulthandler
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import yaml
from fuzz_damage import damage
from fuzz_documents import try_documents
from fuzz_files import add_real, make_good
from machine import machine

import segkit
from segkit.errors import SegkitError
from segkit.files import TEMPORARY
from segkit.recipe_file import load_recipe

RESULTS = Path(__file__).parent / "results" / "fuzz.json"
TOGETHER = 40  # inputs a process
MEMORY = 2 << 20  # KiB
STARTING = 10  # seconds that a process may take until it has loaded PyTorch
Target = Callable[[Path, Path, Path, Path], object]
"""Of the folder, where to write, a good model, and the damaged file."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--commands", type=int, default=50)
    parser.add_argument("--documents", type=int, default=1000)
    parser.add_argument("--real", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=list(TARGETS), default=list(TARGETS))
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--results", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    if arguments.real and not arguments.real.is_dir():
        parser.error(f"{arguments.real}: not a folder; the one that holds the datasets was expected")
    torch.set_num_threads(1)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        good = make_good(place / "good")
        if arguments.real:
            add_real(place / "real", arguments.real, good)
        for name, target in TARGETS.items():  # all of it is loaded once, and good files are fine
            for source in good[name]:
                shutil.copytree(source, place / "work")
                target(place / "work", place / "out", good["model"][0], min((place / "work").rglob("*.*")))
                shutil.rmtree(place / "work")
        findings, seen, at = [], Counter[str](), 0
        written = {
            name: documents(place, good, arguments, name, findings) for name in arguments.only if name in WRITTEN
        }
        while at < arguments.count:
            at, found, counted = together(place, good, arguments, at)
            findings += found
            seen += counted
            for each in found:
                print(json.dumps(each), flush=True)
        through = Counter[str]()
        for number in range(arguments.count, arguments.count + arguments.commands):
            row = through_command(place, good, arguments, number)
            through[row["outcome"].split(":")[0]] += 1
            if row["outcome"] not in ("fine", "refused"):
                findings.append(row)
                print(json.dumps(row), flush=True)
    real = sorted(each.name for each in arguments.real.iterdir() if each.is_dir()) if arguments.real else []
    summary = {
        "inputs": arguments.count,
        "seed": arguments.seed,
        "real datasets": real,
        "outcomes": dict(sorted(seen.items())),
        "documents": written,
        "through commands": dict(sorted(through.items())),
        "findings": findings,
        "minutes": round((time.monotonic() - began) / 60, 1),
        "machine": machine(),
    }
    arguments.results.parent.mkdir(parents=True, exist_ok=True)
    arguments.results.write_text(json.dumps(summary, indent=1) + "\n")
    print(f"{arguments.count} inputs, {len(findings)} findings; {dict(seen)}, {written}, commands {dict(through)}")


def documents(
    place: Path, good: dict[str, list[Path]], arguments: argparse.Namespace, target: str, findings: list[dict[str, Any]]
) -> dict[str, int]:
    """Show a target the documents that Hypothesis writes, in one fork; how many ended how."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        with os.fdopen(writer, "w", buffering=1) as told:
            try:
                silently()
                show_documents(place, good, arguments, target, told)
            except BaseException:
                told.write(json.dumps({"finding": traceback.format_exc()[-3000:]}) + "\n")
            finally:
                told.flush()
                os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as lines:
        rows = [json.loads(line) for line in lines]
    os.waitpid(child, 0)
    counted = Counter(row["outcome"] for row in rows if "outcome" in row)
    found = [row["finding"] for row in rows if "finding" in row]
    begun = [row["begun"] for row in rows if "begun" in row]
    if not found and len(begun) > sum(counted.values()):
        found = [f"died or hung: {begun[-1]}"]
    findings += [{"target": target, "document": each} for each in found]
    print(json.dumps({target: dict(counted), "findings": found}), flush=True)
    return dict(sorted(counted.items()))


def show_documents(
    place: Path, good: dict[str, list[Path]], arguments: argparse.Namespace, target: str, told: Any
) -> None:
    """Have them written and read in this process, each told before it is read and after."""
    files = [file for folder in good[target] for file in sorted(folder.glob(WRITTEN[target]))]
    for number, file in enumerate(files):

        def act(document: dict[str, Any], file: Path = file) -> None:
            text = json.dumps(document) if file.suffix == ".json" else yaml.safe_dump(document, allow_unicode=True)
            told.write(json.dumps({"begun": text[:2000]}) + "\n")
            signal.alarm(arguments.seconds)
            outcome = show(place, good, target, file, text)
            signal.alarm(0)
            told.write(json.dumps({"outcome": outcome}) + "\n")

        share = max(1, arguments.documents // len(files))
        try_documents(yaml.safe_load(file.read_text(encoding="utf-8")), act, share, arguments.seed + number)


def show(place: Path, good: dict[str, list[Path]], target: str, file: Path, text: str) -> str:
    """Show a target the good folder with that text in the place of the file."""
    work, out = place / "work", place / "out"
    for folder in (work, out):
        shutil.rmtree(folder, ignore_errors=True)
    if target == "recipe":
        work.mkdir()
    else:
        shutil.copytree(file.parent, work)
    (work / file.name).write_text(text, encoding="utf-8")
    before, outcome = listing(place), "fine"
    try:
        TARGETS[target](work, out, good["model"][0], work / file.name)
    except SegkitError as error:
        outcome = "refused"
        if "\n" in str(error):
            raise AssertionError(f"several lines: {error}") from error
    if strange := strange_files(place, before):
        raise AssertionError(strange)
    if resource.getrusage(resource.RUSAGE_SELF).ru_maxrss > MEMORY:
        raise AssertionError("more than 2 GiB")
    return outcome


def silently() -> None:
    """Let this process say nothing, and end at an alarm also within a library."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    faulthandler.disable()


def together(
    place: Path, good: dict[str, list[Path]], arguments: argparse.Namespace, first: int
) -> tuple[int, list[dict[str, Any]], Counter[str]]:
    """Run some inputs in one fork: the next one to run, what was found, and how each ended."""
    last = min(first + TOGETHER, arguments.count)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reader)
            with os.fdopen(writer, "w", buffering=1) as told:
                run(place, good, arguments, range(first, last), told)
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as lines:
        rows = [json.loads(line) for line in lines]
    os.waitpid(child, 0)
    ended = {row["input"]: row for row in rows if "outcome" in row}
    begun = max((row["input"] for row in rows), default=first)
    if begun not in ended:  # the process died, or was ended for taking too long
        ended[begun] = {**next(row for row in rows if row["input"] == begun), "outcome": "died or hung"}
    findings = [row for row in ended.values() if row["outcome"] not in ("fine", "refused")]
    return begun + 1, findings, Counter(row["outcome"].split(":")[0] for row in ended.values())


def run(place: Path, good: dict[str, list[Path]], arguments: argparse.Namespace, inputs: range, told: Any) -> None:
    """Run inputs in this process, each told before it begins and when it is over."""
    silently()
    for number in inputs:
        row, file = damaged_input(place, good, arguments, number)
        target, work, out = row["target"], place / "work", place / "out"
        before = listing(place)
        told.write(json.dumps(row) + "\n")
        signal.alarm(arguments.seconds)
        began = time.monotonic()
        try:
            TARGETS[target](work, out, good["model"][0], file)
            outcome = "fine"
        except SegkitError as error:
            outcome = "refused" if "\n" not in str(error) else "several lines: " + str(error)[:300]
        except BaseException:
            outcome = "traceback: " + " | ".join(traceback.format_exc().strip().splitlines()[-3:])[-600:]
        signal.alarm(0)
        if resource.getrusage(resource.RUSAGE_SELF).ru_maxrss > MEMORY:
            outcome = "memory: more than 2 GiB"
        outcome = strange_files(place, before) or outcome
        told.write(json.dumps({**row, "outcome": outcome, "seconds": round(time.monotonic() - began, 2)}) + "\n")
        if outcome.startswith("memory"):
            return  # the highest that a process ever took is all that is known of it


def through_command(
    place: Path, good: dict[str, list[Path]], arguments: argparse.Namespace, number: int
) -> dict[str, Any]:
    """Run one input through the program: what it was, and how that ended."""
    row, file = damaged_input(place, good, arguments, number)
    work, out = place / "work", place / "out"
    source = file.parent if file.parent != work else file
    words = {
        "recipe": ["config", "show", str(file)],
        "dataset": ["check", str(work)],
        "model": ["predict", str(work), str(good["picture"][0] / "cells.png"), "-o", str(out)],
        "picture": ["predict", str(good["model"][0]), str(source), "-o", str(out)],
    }[row["target"]]
    before, began = listing(place), time.monotonic()
    with (place / "said").open("w+") as said:
        report = said if row["target"] == "dataset" else subprocess.DEVNULL
        one = subprocess.Popen([sys.executable, "-m", "segkit", *words], stdout=report, stderr=said)
        ending = threading.Timer(arguments.seconds + STARTING, one.kill)
        ending.start()
        _, status, used = os.wait4(one.pid, 0)
        ending.cancel()
        one.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        lines = said.read().splitlines()
    (place / "said").unlink()
    code = one.returncode
    told = any(line.startswith("error: ") for line in lines) or (row["target"] == "dataset" and code == 3 and lines)
    if (
        code not in (0, 2, 3)
        or (code > 0) != bool(told)
        or any("Traceback" in each or "Warning" in each for each in lines)
    ):
        outcome = f"exit {code}: " + " | ".join(lines)[-600:]
    elif used.ru_maxrss > MEMORY:
        outcome = "memory: more than 2 GiB"
    else:
        outcome = strange_files(place, before) or ("fine" if code == 0 else "refused")
    return {**row, "outcome": outcome, "seconds": round(time.monotonic() - began, 2)}


def damaged_input(
    place: Path, good: dict[str, list[Path]], arguments: argparse.Namespace, number: int
) -> tuple[dict[str, Any], Path]:
    """The folder ``work`` with one file of it damaged: what was done, and to which."""
    draw = random.Random(f"{arguments.seed} {number}")
    target = draw.choice(arguments.only)
    work = place / "work"
    for folder in (work, place / "out"):
        shutil.rmtree(folder, ignore_errors=True)
    folder = draw.choice(good[target])
    shutil.copytree(folder, work)
    file = draw.choice(sorted(path for path in work.rglob("*") if path.is_file()))
    what = damage(file, draw)
    named = file.relative_to(work).as_posix()
    return {"input": number, "target": target, "of": folder.name, "file": named, "damage": what}, file


def strange_files(place: Path, before: set[str]) -> str | None:
    """What lies where nothing belongs, or is hidden, since that listing."""
    strange = [name for name in listing(place) - before if not name.startswith("out/") or hidden(name)]
    return f"files: {strange[:3]}" if strange else None


def listing(place: Path) -> set[str]:
    """All files in a folder, by their place there."""
    return {path.relative_to(place).as_posix() for path in place.rglob("*") if path.is_file()}


def hidden(name: str) -> bool:
    return any(TEMPORARY.fullmatch(part) for part in name.split("/"))


def read_recipes(work: Path, *_: Path) -> None:
    for recipe in sorted(work.iterdir()):
        load_recipe(recipe)


def look_at_dataset(work: Path, *_: Path) -> None:
    segkit.check(work)
    folder = segkit.open_dataset(work)
    for sample in folder.samples(*folder.splits):
        folder.read_mask(sample)


def use_model(work: Path, out: Path, *_: Path) -> None:
    segkit.Predictor(work, precision="fp32").predict(torch.zeros(9, 12, 3, dtype=torch.uint8).numpy(), out)


def predict(work: Path, out: Path, model: Path, file: Path) -> None:
    source = file.parent if file.parent != work else file
    outcomes = segkit.Predictor(model, precision="fp32").predict_files([source], out)
    for outcome in outcomes:
        if outcome.error is not None and ("Traceback" in outcome.error or "unexpected" in outcome.error):
            raise RuntimeError(outcome.error)


TARGETS: dict[str, Target] = {
    "recipe": read_recipes,
    "dataset": look_at_dataset,
    "model": use_model,
    "picture": predict,
}
WRITTEN = {"recipe": "*.yaml", "dataset": "dataset.yaml", "model": "segkit.json"}


if __name__ == "__main__":
    sys.exit(main())
