"""``segkit evaluate``: how good a model, each of its members, or a folder of masks is."""

from pathlib import Path
from typing import Annotated

import typer

from segkit.cli.options import Json, Overlap, Precision, Threshold, Tile, Tta, print_json, told
from segkit.cli.progress import progress_bar

EPILOG = "Example: segkit evaluate runs/demo/model cells -o report"


def evaluate(
    model: Annotated[Path, typer.Argument(help="A saved model, or a folder of masks to score.")],
    data: Annotated[Path, typer.Argument(help="The dataset's folder.")],
    split: Annotated[str, typer.Option(help="Which pictures.")] = "test",
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Folder for metrics.json, per_image.csv and table.txt.")
    ] = None,
    tile: Tile = None,
    overlap: Overlap = None,
    tta: Tta = None,
    threshold: Threshold = None,
    precision: Precision = None,
    as_json: Json = False,
) -> None:
    """Score a model on a dataset, and each member of an ensemble by itself.

    Options that aren't given are those kept with the model.
    """
    from segkit.evaluation.report import evaluate as run_evaluation
    from segkit.prediction.writers import output_folder

    how = told(tile=tile, overlap=overlap, tta=tta, threshold=threshold, precision=precision)
    if out is not None:
        output_folder(out)
    with progress_bar("evaluating") as show:
        report = run_evaluation(model, data, split, **how, progress=show)
    if as_json:
        print_json({**report.metrics, "members": report.members})
    else:
        typer.echo(report.table())
    if out is not None:
        report.save(out)
