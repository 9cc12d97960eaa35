"""``segkit postprocess``: find what is to be done to a model's masks."""

from pathlib import Path
from typing import Annotated

import typer

from segkit.cli.options import Json, Overlap, Precision, Tile, Tta, check_model_place, print_json, told
from segkit.cli.progress import progress_bar

EPILOG = "Example: segkit postprocess runs/demo/model cells -o better"


def postprocess(
    model: Annotated[Path, typer.Argument(help="A saved model.")],
    data: Annotated[Path, typer.Argument(help="The dataset's folder.")],
    split: Annotated[
        str, typer.Option(help="Cases to choose on; the model may not have been trained on them.")
    ] = "val",
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="Folder for the model; it may be the model's own. Without, nothing is saved."),
    ] = None,
    tile: Tile = None,
    overlap: Overlap = None,
    tta: Tta = None,
    precision: Precision = None,
    as_json: Json = False,
) -> None:
    """Try what may be done to a model's masks, and keep with the model what helps.

    Smoothing, a threshold by class, the largest part alone, a smallest size and holes are tried in this order. Each is
    kept only if the mean Dice over the cases rises, no class's falls, and more than half of the cases that change get
    better, two at least, also those that its value wasn't chosen on. segkit predict and evaluate then do the same.
    """
    from segkit.artifact import load_segmentation, save
    from segkit.choosing.run import fit_postprocessing
    from segkit.ensemble import Ensemble
    from segkit.errors import ModelError
    from segkit.model import Segmenter

    if out is not None:
        check_model_place(out, [model], in_place=True)
    with progress_bar("trying") as show:
        how = told(tile=tile, overlap=overlap, tta=tta, precision=precision)
        opened = load_segmentation(model)
        if not isinstance(opened, Segmenter | Ensemble):
            raise ModelError(f"{model}: an exported file can't be changed; choose for the model, and export it again")
        found = fit_postprocessing(opened, data, split, progress=show, **how)
    if out is not None:
        save(opened, out)
    if as_json:
        print_json({**found.figures(), "model": None if out is None else str(out)})
        return
    typer.echo(found.table())
    for note in found.notes:
        typer.echo(f"note: {note}")
    typer.echo("nothing is saved; name a folder by -o" if out is None else f"model saved in {out}")
