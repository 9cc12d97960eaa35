"""``segkit trust``: teach a model how good its predictions are."""

from pathlib import Path
from typing import Annotated

import typer

from segkit.cli.options import Json, Overlap, Precision, Tile, Tta, check_model_place, print_json, told
from segkit.cli.progress import progress_bar

EPILOG = "Example: segkit trust runs/demo/model more_cells --good 0.85 -o trusted"


def trust(
    model: Annotated[Path, typer.Argument(help="A saved model.")],
    data: Annotated[Path, typer.Argument(help="The dataset's folder.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the model; it may be the model's own.")],
    split: Annotated[
        str, typer.Option(help="Pictures to fit on; the model may not have been trained on them.")
    ] = "val",
    good: Annotated[float, typer.Option(help="The Dice from which on a prediction is as good as wanted.")] = 0.8,
    risk: Annotated[float, typer.Option(help="Share of accepted predictions that may be worse.")] = 0.1,
    tile: Tile = None,
    overlap: Overlap = None,
    tta: Tta = None,
    precision: Precision = None,
    as_json: Json = False,
) -> None:
    """Fit what tells good predictions from bad ones, and keep it with the model.

    segkit predict then writes into manifest.jsonl, for each picture, the Dice to expect, whether to accept it or to
    look at it again, and in what it is unlike the pictures trained on.
    """
    from segkit.artifact import load_segmentation, save
    from segkit.ensemble import Ensemble
    from segkit.errors import ModelError
    from segkit.fitting.trust import trust as fit_trust
    from segkit.model import Segmenter

    check_model_place(out, [model], in_place=True)
    with progress_bar("predicting") as show:
        how = told(tile=tile, overlap=overlap, tta=tta, precision=precision)
        opened = load_segmentation(model)
        if not isinstance(opened, Segmenter | Ensemble):
            raise ModelError(f"{model}: an exported file can't be changed; teach the model, and export it again")
        trusted = fit_trust(opened, data, split, good=good, risk=risk, progress=show, **how)
    save(opened, out)
    quality = trusted.judge.quality
    if as_json:
        figures = {"images": quality.images, "correlation": quality.correlation, "mean_error": quality.mean_error}
        shares = {"accepted": quality.accepted, "worse": quality.worse}
        print_json({**figures, "good": good, "risk": risk, **shares, "notes": trusted.notes, "model": str(out)})
        return
    correlation = "undefined" if quality.correlation is None else f"{quality.correlation:.3f}"
    typer.echo(
        f"predicted against true Dice of {quality.images} pictures, each held out of its fit: correlation "
        f"{correlation}, mean error {quality.mean_error:.3f}"
    )
    worse = "" if quality.worse is None else f"; {quality.worse:.0%} of these are worse than that"
    typer.echo(f"accepted at Dice {good:g} and risk {risk:g}: {quality.accepted:.0%} of the same pictures{worse}")
    for note in trusted.notes:
        typer.echo(f"note: {note}")
    typer.echo(f"model saved in {out}")
