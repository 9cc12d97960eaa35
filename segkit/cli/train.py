"""``segkit train``: from a recipe and a dataset to a trained model."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from segkit.cli.options import Json, print_json
from segkit.files import writing_to

if TYPE_CHECKING:
    from segkit.training.run import Run

EPILOG = "Example: segkit train demo train.epochs=20 --data cells"


def recipe_names(incomplete: str) -> list[str]:
    """Shipped recipes that begin so, for the shell's completion."""
    from segkit.recipe_file import recipe_names as shipped

    return [name for name in shipped() if name.startswith(incomplete)]


Recipe = Annotated[
    str,
    typer.Argument(help="A .yaml file, or the name of a shipped recipe (segkit models).", autocompletion=recipe_names),
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
    folds: Annotated[
        int | None,
        typer.Option(help="Train so many times, each without one part of the pictures, and score every picture so."),
    ] = None,
    seeds: Annotated[int | None, typer.Option(help="Train so many times from other random numbers.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the newest unfinished run of this recipe in OUT.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Train a model or an ensemble as a recipe says.

    With --folds or --seeds the trainings become one ensemble.

    Ctrl-C stops early and leaves a model of the weights so far, the best or the last, as train.keep says. After that,
    or when the program was killed, the same command with --resume goes on and ends as if it had never stopped.
    """
    from segkit.training.run import train as run_training

    asked = [f"{key}={value}" for key, value in (("folds", folds), ("seeds", seeds)) if value is not None]
    with writing_to(out):
        run = run_training(recipe, data, [*(overrides or ()), *asked], out=out, resume=resume, console=not as_json)
    report(run, as_json=as_json)


def report(run: "Run", *, as_json: bool) -> None:
    """Print what a run left, and leave with 130 where it was interrupted."""
    if as_json:
        print_json(
            {"directory": str(run.directory), "model": str(run.directory / "model"), "interrupted": run.interrupted}
            | {"metrics": run.metrics}
        )
    if run.interrupted:
        raise typer.Exit(130)
