"""``segkit init``: a recipe fitted to a dataset, to this machine and to the time there is."""

from pathlib import Path
from typing import Annotated

import typer

EPILOG = "Example: segkit init cells --hours 1 -o hour.yaml"


def init(
    data: Annotated[Path, typer.Argument(help="The dataset's folder.")],
    hours: Annotated[float, typer.Option(help="How long training may take on this machine.")] = 1.0,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="The recipe's file; by default NAME.yaml.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file that is there.")] = False,
) -> None:
    """Look at a dataset and write a recipe for it, each choice with its reason.

    Reads up to 200 pictures and trains a few steps to learn how fast this machine is; takes under a minute.
    """
    from segkit.data.folder import open_dataset
    from segkit.suggestion.suggest import check_recipe_place, recipe_name, suggest

    where = out or Path(f"{recipe_name(open_dataset(data).name)}.yaml")
    check_recipe_place(where, overwrite=overwrite)  # before anything is measured
    suggestion = suggest(data, hours=hours)
    suggestion.save(where, overwrite=overwrite)
    typer.echo(f"wrote {where}; read it, change what you know better, then: segkit train {where}")
