"""``segkit demo``: the whole way once, in about three minutes, on a dataset that it draws itself."""

from pathlib import Path
from typing import Annotated

import typer

from segkit.files import writing_to

EPILOG = "Example: segkit demo"


def demo(
    out: Annotated[Path, typer.Option(help="Folder for everything that the demonstration makes.")] = Path(
        "segkit-demo"
    ),
    seed: Annotated[int, typer.Option(min=0, help="Seed of the pictures and of the training.")] = 0,
) -> None:
    """Draw a small dataset, train an ensemble of two on it, predict, and leave a report to look at.

    Takes about three minutes on two processor cores and needs no network.
    """
    from segkit.demo import demo as run_demo

    with writing_to(out):
        run_demo(out, seed)
