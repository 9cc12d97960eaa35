"""``segkit pretrain``: from a recipe and images to a backbone's weights."""

from pathlib import Path
from typing import Annotated

import typer

from segkit.cli.options import Json, print_json
from segkit.cli.train import Overrides
from segkit.files import writing_to

EPILOG = "Example: segkit pretrain swin_cifar10 train.minutes=60 --data shapes"


def recipe_names(incomplete: str) -> list[str]:
    """Shipped recipes that begin so, for the shell's completion."""
    from segkit.recipe_file import recipe_names as shipped

    return [name for name in shipped("pretraining") if name.startswith(incomplete)]


Recipe = Annotated[
    str,
    typer.Argument(
        help="A .yaml file, or the name of a shipped pretraining recipe (segkit models).", autocompletion=recipe_names
    ),
]


def pretrain(
    recipe: Recipe,
    overrides: Overrides = None,
    data: Annotated[
        Path | None,
        typer.Option(
            help="Labelled images (folders of classes, a CSV list, CIFAR's files), a dataset's folder with depth, or "
            "images with captions.csv; otherwise the recipe's data.path."
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the run; it becomes OUT/NAME.")] = Path("runs"),
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the newest unfinished run of this recipe in OUT.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Train a backbone from images without masks, for recipes to begin with.

    What is learnt is up to the recipe: classes of images, which depth belongs to which picture, or which caption to
    which image. `backbone: {name: …, weights: runs/NAME/backbone.safetensors}` in another recipe begins with it.

    Ctrl-C stops early and leaves the weights so far, the best or the last, as train.keep says. After that, or when the
    program was killed, the same command with --resume goes on and ends as if it had never stopped (with train.minutes
    not to the last bit: rates follow the clock).
    """
    from segkit.pretraining.run import pretrain as run_pretraining

    with writing_to(out):
        run = run_pretraining(recipe, data, overrides or (), out=out, resume=resume, console=not as_json)
    if as_json:
        print_json(
            {"directory": str(run.directory), "backbone": str(run.backbone), "interrupted": run.interrupted}
            | {"metrics": run.metrics}
        )
    if run.interrupted:
        raise typer.Exit(130)
