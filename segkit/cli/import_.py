"""``segkit import``: a dataset of nnU-Net's, the Decathlon's, COCO's or VOC's layout as one of segkit's."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from segkit.cli.options import Json, print_json
from segkit.cli.progress import progress_bar

EPILOG = "Example: segkit import Dataset004_Cells -o imported"


def import_(
    source: Annotated[Path, typer.Argument(help="The dataset's folder; for COCO also one JSON.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="A new folder, in segkit's layout.")],
    kind: Annotated[
        Literal["nnunet", "decathlon", "coco", "voc"] | None,
        typer.Option("--from", help="The layout that it has; found out where it isn't given."),
    ] = None,
    link: Annotated[bool, typer.Option("--link", help="Symbolic links in the place of copies.")] = False,
    multilabel: Annotated[
        bool, typer.Option("--multilabel", help="COCO: a mask for each class, so that classes may overlap.")
    ] = False,
    partial: Annotated[
        bool, typer.Option("--partial", help="Leave out cases that are damaged or incomplete, instead of stopping.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Write a dataset of another layout as one of segkit's: images/, masks/ and dataset.yaml.

    Reads nnU-Net's raw data (nnunet), tasks of the Medical Segmentation Decathlon (decathlon), COCO's JSON of
    instances (coco) and Pascal VOC's folders, as CVAT writes them too (voc). The source is never changed. What is left
    out is said, with the reason.
    """
    from segkit.importing.run import import_dataset

    with progress_bar("importing") as show:
        report = import_dataset(
            source, out, kind, link_files=link, multilabel=multilabel, partial=partial, progress=show
        )
    if as_json:
        print_json(report.to_json())
    else:
        typer.echo(report.table())
