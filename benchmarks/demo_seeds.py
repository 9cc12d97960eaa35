"""The demonstration under three seeds: is the ensemble better than its members, and how much?

    python benchmarks/demo_seeds.py [--out FOLDER]

Each seed draws its own dataset and trains its own two members. About three minutes a seed on two cores; a seed whose
result is in ``benchmarks/results/demo_seeds.json`` is not run again.
"""

import argparse
import json
import tempfile
from pathlib import Path
from statistics import mean

from machine import machine

from segkit.demo import demo

RESULTS = Path(__file__).parent / "results" / "demo_seeds.json"
SEEDS = (0, 1, 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=None)
    arguments = parser.parse_args()
    out = arguments.out or Path(tempfile.mkdtemp())
    RESULTS.parent.mkdir(exist_ok=True)
    results = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    for seed in SEEDS:
        if f"seed_{seed}" not in results:
            result = demo(out / f"seed_{seed}", seed)
            dice = {name: round(value, 4) for name, value in result.dice.items()}
            results[f"seed_{seed}"] = {"dice": dice, "seconds": round(result.seconds), "machine": machine()}
            RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    for name in results["seed_0"]["dice"]:
        values = [results[f"seed_{seed}"]["dice"][name] for seed in SEEDS]
        print(f"{name:20} Dice pooled {' '.join(f'{value:.4f}' for value in values)}  mean {mean(values):.4f}")


if __name__ == "__main__":
    main()
