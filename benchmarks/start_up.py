"""How long the toolkit keeps one waiting before it begins: commands that need no PyTorch, in fresh processes.

    python benchmarks/start_up.py [--times 11]

Each command takes its turn in each round; figures are medians of wall-clock seconds, Python's own start among them. The
result is ``benchmarks/results/start_up.json``.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from machine import machine

RESULTS = Path(__file__).parent / "results" / "start_up.json"
SEGKIT = str(Path(sys.executable).parent / "segkit")
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "import segkit": [sys.executable, "-c", "import segkit"],
    "segkit --help": [SEGKIT, "--help"],
    "segkit train --help": [SEGKIT, "train", "--help"],
    "segkit models": [SEGKIT, "models"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=11)
    arguments = parser.parse_args()
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(arguments.times):
        for name, command in COMMANDS.items():
            began = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            seconds[name].append(time.perf_counter() - began)
    rows = {name: round(median(found), 3) for name, found in seconds.items()}
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps({"seconds": rows, "machine": machine()}, indent=1) + "\n", encoding="utf-8")
    print(RESULTS.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
