"""``segkit distill``: one small model that has learnt what an ensemble knows."""

from pathlib import Path
from typing import Annotated

import typer

from segkit.cli.options import Json
from segkit.cli.train import Overrides, recipe_names, report
from segkit.files import writing_to

EPILOG = "Example: segkit distill runs/demo/model cells --student small.yaml"


def distill(
    teacher: Annotated[Path, typer.Argument(metavar="ENSEMBLE", help="A saved model, usually an ensemble.")],
    data: Annotated[Path, typer.Argument(help="The dataset's folder.")],
    student: Annotated[
        str,
        typer.Option(
            metavar="RECIPE", help="What to train: a .yaml file, or a recipe's name.", autocompletion=recipe_names
        ),
    ],
    overrides: Overrides = None,
    unlabelled: Annotated[
        Path | None, typer.Option(help="A folder of further pictures, which only the teacher labels.")
    ] = None,
    share: Annotated[
        float, typer.Option(help="Of the loss that is against the teacher; the rest is against masks.")
    ] = 0.5,
    out: Annotated[Path, typer.Option(help="Folder for the run; it becomes OUT/NAME.")] = Path("runs"),
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the newest unfinished run of this recipe in OUT.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Train one model on masks and on what an ensemble says of the same pictures, and of others.

    The student predicts at the cost of one model; where it was taught by an ensemble, it also tells where the members
    would disagree.
    """
    from segkit.training.distill import distill as run_distillation

    with writing_to(out):
        run = run_distillation(
            teacher,
            data,
            student,
            overrides or (),
            unlabelled=unlabelled,
            share=share,
            out=out,
            resume=resume,
            console=not as_json,
        )
    report(run, as_json=as_json)
