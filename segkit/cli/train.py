"""``segkit train``: from a recipe and a dataset to a trained model."""

from pathlib import Path
from typing import Annotated

import typer

from segkit.cli.options import Json, print_json
from segkit.files import writing_to

EPILOG = "Example: segkit train demo train.epochs=20 --data cells"


def _recipes(incomplete: str) -> list[str]:
    from segkit.recipe import recipe_names

    return [name for name in recipe_names() if name.startswith(incomplete)]


Recipe = Annotated[
    str,
    typer.Argument(help="A .yaml file, or the name of a shipped recipe (segkit models).", autocompletion=_recipes),
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="Changes to the recipe, such as train.epochs=50."),
]


def train(
    recipe: Recipe,
    overrides: Overrides = None,
    data: Annotated[Path | None, typer.Option(help="The dataset's folder; otherwise the recipe's data.path.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for the run; it becomes OUT/NAME.")] = Path("runs"),
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the newest unfinished run of this recipe in OUT.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Train a model or an ensemble as a recipe says.

    Ctrl-C stops early and keeps the best weights so far. After that, or when the program was killed, the same command
    with --resume goes on and ends as if it had never stopped.
    """
    from segkit.training.run import train as run_training

    with writing_to(out):
        run = run_training(recipe, data, overrides or (), out=out, resume=resume, console=not as_json)
    if as_json:
        print_json(
            {"directory": str(run.directory), "model": str(run.directory / "model"), "interrupted": run.interrupted}
            | {"metrics": run.metrics}
        )
    if run.interrupted:
        raise typer.Exit(130)
