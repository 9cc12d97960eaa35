"""``segkit evaluate``: how good a model, each of its members, or a folder of masks is, and which is better."""

from pathlib import Path
from typing import Annotated

import typer

from segkit.cli.options import (
    Json,
    Overlap,
    Precision,
    Threshold,
    Tile,
    Tta,
    check_for_labels,
    print_json,
    told,
)
from segkit.cli.progress import progress_bar
from segkit.cli.report_folder import EVALUATION, OF_LABELS, report_folder
from segkit.errors import UsageError

EPILOG = "Example: segkit evaluate runs/demo/model cells -o report"


def evaluate(
    models: Annotated[
        list[Path],
        typer.Argument(metavar="MODEL", help="A saved model, or a folder of masks to score; several are compared."),
    ],
    data: Annotated[Path, typer.Argument(metavar="DATA", help="The dataset's folder, after the models.")],
    split: Annotated[str, typer.Option(help="Which pictures; several splits are joined by +.")] = "test",
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="Folder for index.html, the figures as JSON, CSV and text, and errors/."),
    ] = None,
    threshold_from: Annotated[
        str | None,
        typer.Option(metavar="SPLIT", help="Choose the threshold on this split, and score at it too (one model)."),
    ] = None,
    surface: Annotated[
        float | None,
        typer.Option(
            metavar="TOLERANCE",
            help="HD95, average and normalised surface distance at a tolerance in mm, or pixels (slow; one model).",
        ),
    ] = None,
    lesions: Annotated[
        bool, typer.Option("--lesions", help="Which lesions are found, of all and of each image (one model).")
    ] = False,
    lesion_overlap: Annotated[
        float | None, typer.Option(metavar="IOU", help="From which IoU on a lesion is found, by default 0.1.")
    ] = None,
    lesion_size: Annotated[
        float | None, typer.Option(metavar="SIZE", help="Leave smaller lesions out: mm³, or pixels (default: none).")
    ] = None,
    depth: Annotated[
        bool, typer.Option("--depth/--no-depth", help="Whether a model that takes depth gets the dataset's.")
    ] = True,
    tile: Tile = None,
    overlap: Overlap = None,
    tta: Tta = None,
    threshold: Threshold = None,
    precision: Precision = None,
    as_json: Json = False,
) -> None:
    """Score a model on a dataset, and each member of an ensemble by itself.

    Several models are scored on the same images, and each is compared with the first. With -o a page about it is
    written, and a picture of each image's errors.

    A classifier is scored on labelled images: one at a time, by --split, --precision, -o and --json alone.

    Options that aren't given are those kept with the model.
    """
    from segkit.artifact import DESCRIPTION, draws_masks
    from segkit.evaluation.comparison import compare
    from segkit.evaluation.lesions import LesionRule
    from segkit.evaluation.report import evaluate as run_evaluation

    if (data / DESCRIPTION).is_file():
        raise UsageError(f"{data}: a model in the place of the dataset; its folder comes last: evaluate MODEL... DATA")
    labels = [model for model in models if not draws_masks(model)]
    if labels:
        given = {
            "--threshold-from": threshold_from,
            "--surface": surface,
            "--lesions": lesions or None,
            "--lesion-overlap": lesion_overlap,
            "--lesion-size": lesion_size,
            "--no-depth": None if depth else True,
            "--tile": tile,
            "--overlap": overlap,
            "--tta": tta,
            "--threshold": threshold,
        }
        check_for_labels(labels[0], given)
        if len(models) > 1:
            raise UsageError(f"{labels[0]}: a classifier; such models are evaluated one at a time")
        _evaluate_labels(labels[0], data, split, precision, out, as_json)
        return
    if threshold_from is not None and len(models) > 1:
        raise UsageError("--threshold-from takes one model at a time")
    if (surface is not None or lesions) and len(models) > 1:
        raise UsageError("--surface and --lesions take one model at a time")
    asked = told(overlap=lesion_overlap, smallest=lesion_size)
    if asked and not lesions:
        raise UsageError("--lesion-overlap and --lesion-size say what --lesions counts; give it too")
    how = told(tile=tile, overlap=overlap, tta=tta, threshold=threshold, precision=precision)
    with report_folder(out, data, EVALUATION), progress_bar("evaluating") as show:
        if len(models) > 1:
            comparison = compare(models, data, split, **how, depth=depth, errors=out, progress=show)
        else:
            maps = out / "errors" if out is not None else None
            report = run_evaluation(
                models[0],
                data,
                split,
                **how,
                threshold_from=threshold_from,
                surface=surface,
                lesions=lesions and LesionRule(**asked),
                depth=depth,
                errors=maps,
                progress=show,
            )
    result = comparison if len(models) > 1 else report
    reports = list(comparison.reports.values()) if len(models) > 1 else [report]
    if as_json:
        print_json(result.metrics if len(models) > 1 else {**report.metrics, "members": report.members})
        for note in {note: None for each in reports for note in each.metrics["notes"]}:
            typer.echo(f"note: {note}", err=True)
    else:
        typer.echo(result.table())
    if out is not None:
        result.save(out)


def _evaluate_labels(
    model: Path, data: Path, split: str, precision: str | None, out: Path | None, as_json: bool
) -> None:
    """The same for a classifier: scores, confusion matrix and worst images."""
    from segkit.score import evaluate as run_evaluation

    with report_folder(out, data, OF_LABELS, labels=True), progress_bar("evaluating") as show:
        report = run_evaluation(model, data, split, **told(precision=precision), progress=show)
    if as_json:
        print_json(report.metrics)
        for note in report.metrics["notes"]:
            typer.echo(f"note: {note}", err=True)
    else:
        typer.echo(report.table())
    if out is not None:
        report.save(out)
