"""``segkit stress``: how a model's score falls as pictures get worse, or are made to mislead it."""

from pathlib import Path
from typing import Annotated

import typer

from segkit.cli.options import Json, Overlap, Precision, Tile, Tta, print_json, told
from segkit.cli.progress import progress_bar
from segkit.cli.report_folder import ROBUSTNESS, report_folder

EPILOG = "Example: segkit stress runs/demo/model cells --kind noise --kind blur -o stress"


def stress(
    model: Annotated[Path, typer.Argument(help="A saved model.")],
    data: Annotated[Path, typer.Argument(help="The dataset's folder.")],
    split: Annotated[str, typer.Option(help="Which pictures; several splits are joined by +.")] = "test",
    kinds: Annotated[
        list[str] | None, typer.Option("--kind", help="fgsm, noise, blur, contrast or jpeg; all by default.")
    ] = None,
    most: Annotated[int, typer.Option(help="So many pictures at most.")] = 50,
    seed: Annotated[int, typer.Option(help="Of the noise.")] = 0,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Folder for the curves as a picture, as JSON and as text.")
    ] = None,
    tile: Tile = None,
    overlap: Overlap = None,
    tta: Tta = None,
    precision: Precision = None,
    as_json: Json = False,
) -> None:
    """Score a model, and each member of an ensemble, on noisy, blurred, pale and attacked pictures.

    An attack (FGSM) changes every value by so little, in the direction that the model's own loss grows fastest.
    """
    from segkit.artifact import load_segmentation
    from segkit.stressing.run import KINDS
    from segkit.stressing.run import stress as run_stress

    with report_folder(out, data, ROBUSTNESS), progress_bar("scoring") as show:
        how = told(tile=tile, overlap=overlap, tta=tta, precision=precision)
        found = run_stress(
            load_segmentation(model),
            data,
            split,
            kinds=tuple(kinds or KINDS),
            most=most,
            seed=seed,
            progress=show,
            **how,
        )
    if out is not None:
        found.save(out)
    if as_json:
        print_json(found.figures)
    else:
        typer.echo(found.table())
