"""What the tables of ``docs/results.md`` are made with: rows of result files, lines, means of seeds."""

from statistics import mean, stdev
from typing import Any

SEEDS = (0, 1, 2)

Rows = dict[str, Any]
Lines = list[list[str]]
"""A table: its header, then its rows."""


def with_spread(values: list[float], digits: int = 3) -> str:
    """Mean and standard deviation of seeds; of one seed its value."""
    spread = f" ± {stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{mean(values):.{digits}f}{spread}" if values else ""


def of_seeds(rows: Rows, key: str) -> list[Rows]:
    """The rows of a system, by seeds, as far as there are any."""
    return [rows[name] for seed in SEEDS if (name := key.format(seed=seed)) in rows]


def differences(row: Rows) -> list[str]:
    """Of one system from another, with intervals."""
    return [
        f"{row[score]:+.3f}, {row[f'{score} interval'][0]:+.3f} to {row[f'{score} interval'][1]:+.3f}"
        for score in ("iou", "f1", "nll")
    ]
