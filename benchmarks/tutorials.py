"""The tutorials as a reader follows them: every file written, every command and piece of code run, in an empty folder.

    python benchmarks/tutorials.py [ensembles.md depth.md medical.md pretraining.md] [--runs runs]

Nothing is cut short. A step is a line of a shell or a block of Python; all of a page go to ``--runs/PAGE.log`` with
what they print and their seconds. A step that fails, or prints a warning, is told, and the page ends there if it
failed. What commands that score print is kept with the minutes in ``benchmarks/results/tutorials.json``: the figures
in a page's text are from there. The folder stays, for the scripts that make the page's pictures.
"""

import argparse
import contextlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from kept_rows import write
from machine import machine

DOCS = Path(__file__).resolve().parent.parent / "docs"
RESULTS = Path(__file__).resolve().parent / "results" / "tutorials.json"
TITLE = re.compile(r"# (\S+\.(?:py|yaml))\n")
PAGES = ("ensembles.md", "depth.md", "medical.md", "pretraining.md")
SCORING = ("segkit ensemble", "segkit evaluate", "segkit postprocess", "segkit trust", "segkit stress")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", nargs="*", default=PAGES)
    parser.add_argument("--runs", type=Path, default=Path("runs/tutorials"))
    arguments = parser.parse_args()
    if unknown := set(arguments.pages) - set(PAGES):
        parser.error(f"{', '.join(sorted(unknown))}: not a tutorial; expected some of {', '.join(PAGES)}")
    runs = arguments.runs.resolve()
    if len(arguments.pages) > 1:  # a process each, as its code leaves imports and memory behind
        done = [subprocess.run([sys.executable, __file__, each, "--runs", str(runs)]) for each in arguments.pages]
        sys.exit(max(each.returncode for each in done))
    page = arguments.pages[0]
    place = runs / Path(page).stem
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    os.chdir(place)
    with (runs / f"{Path(page).stem}.log").open("w", encoding="utf-8") as log:
        found = Walk(log).follow(page)
    write(RESULTS, page, {**found, "machine": machine()})
    print(page, json.dumps({name: value for name, value in found.items() if name != "printed"}), flush=True)
    sys.exit(bool(found["failed"]))


class Walk:
    """One page, followed in the folder where we are."""

    def __init__(self, log: io.TextIOBase) -> None:
        self.log = log
        self.session: dict[str, Any] = {"__name__": "__main__"}
        self.seconds: dict[str, float] = {}
        self.warned: list[str] = []
        self.printed: dict[str, list[str]] = {}

    def follow(self, page: str) -> dict[str, Any]:
        """Take all steps; how many there were, the longest, and what went wrong."""
        failed = None
        for kind, text in re.findall(r"^```(\w+)\n(.*?)^```", (DOCS / page).read_text(encoding="utf-8"), re.M | re.S):
            if title := TITLE.match(text):
                Path(title[1]).write_text(text, encoding="utf-8")
                continue
            steps = text.splitlines() if kind == "bash" else [text] if kind == "python" else []
            failed = next((step for step in steps if not self.take(step, kind)), None)
            if failed:
                break
        longest = sorted(self.seconds.items(), key=lambda step: -step[1])[:3]
        return {
            "steps": len(self.seconds),
            "minutes": round(sum(self.seconds.values()) / 60, 1),
            "longest": dict(longest),
            "warned": self.warned,
            "failed": failed,
            "printed": self.printed,
        }

    def take(self, step: str, kind: str) -> bool:
        """Take a step; whether it went well."""
        began = time.perf_counter()
        said, fine = shell(step) if kind == "bash" else self.code(step)
        name = step.strip().splitlines()[-1]
        self.seconds[name] = round(time.perf_counter() - began, 1)
        self.log.write(f"$ {step}\n{said}\n[{self.seconds[name]} s{'' if fine else ', FAILED'}]\n\n")
        self.log.flush()
        if name.startswith(SCORING):
            self.printed[name] = [line.rstrip() for line in said.replace(f"{Path.cwd()}/", "").splitlines()]
        if "Warning" in said:
            self.warned.append(name)
        return fine

    def code(self, text: str) -> tuple[str, bool]:
        """Run a block where those before it left off."""
        with contextlib.redirect_stdout(io.StringIO()) as said, contextlib.redirect_stderr(said):
            try:
                exec(compile(text, "a block of the page", "exec"), self.session)
            except Exception:
                return said.getvalue() + traceback.format_exc(), False
        return said.getvalue(), True


def shell(line: str) -> tuple[str, bool]:
    """Run a line as a reader does, by the shell."""
    words = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(line, shell=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=words)
    return done.stdout, done.returncode == 0


if __name__ == "__main__":
    main()
