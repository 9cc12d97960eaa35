"""``segkit probe``: what a backbone's frozen features are worth."""

from pathlib import Path
from typing import Annotated, Any

import typer

from segkit.cli.options import Json, Precision, print_json
from segkit.cli.progress import progress_bar
from segkit.errors import UsageError

EPILOG = "Example: segkit probe runs/shapes/backbone.safetensors shapes"


def probe(
    backbone: Annotated[
        str,
        typer.Argument(
            help="A backbone's name or '{name: …, option: value}', the folder of a saved model or pretraining run, or "
            "a run's backbone.safetensors."
        ),
    ],
    data: Annotated[Path, typer.Argument(help="Labelled images: folders, a CSV list, or CIFAR's files.")],
    weights: Annotated[
        str | None, typer.Option(help="For a name: imagenet, or a file of weights; random ones where it isn't given.")
    ] = None,
    split: Annotated[str, typer.Option(help="Images to score; the probes are fitted to train.")] = "test",
    level: Annotated[int, typer.Option(help="Which level of the pyramid, finest first; -1 is the coarsest.")] = -1,
    size: Annotated[
        int | None, typer.Option(help="Side that images are shown at; by default the model's, or their own up to 224.")
    ] = None,
    neighbours: Annotated[int, typer.Option("-k", "--neighbours", help="How many neighbours vote.")] = 20,
    precision: Precision = None,
    cache: Annotated[Path | None, typer.Option(help="Folder to keep features in, for further probes of them.")] = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="JSON file for the figures.")] = None,
    as_json: Json = False,
) -> None:
    """Score a backbone in minutes, without training it: k nearest neighbours, and a linear probe.

    Every image becomes one vector, the mean over the pixels of a level. How many images of the split get the right
    label by their neighbours in train, or by a linear classifier fitted to train, says how well the backbone tells
    the classes apart.
    """
    from segkit.probing.run import probe as run_probe

    if out is not None and out.suffix != ".json":
        raise UsageError(f"--out is {out}; expected a file ending in .json")
    with progress_bar("features") as show:
        found = run_probe(
            _named(backbone),
            data,
            weights=weights,
            split=split,
            level=level,
            size=size,
            k=neighbours,
            precision=None if precision is None or precision == "auto" else precision,
            cache=cache,
            progress=show,
        )
    if as_json:
        print_json(found.metrics)
    else:
        typer.echo(found.table())
    if out is not None:
        found.save(out)


def _named(backbone: str) -> Any:
    """A name or a path as it is; what begins with a brace is a name with options."""
    import yaml

    from segkit.yaml_text import read_yaml

    if not backbone.startswith("{"):
        return backbone
    try:
        return read_yaml(backbone)
    except yaml.YAMLError as error:
        raise UsageError(
            f"{backbone}: can't be read as {{name: …, option: value}} ({error.__class__.__name__})"
        ) from None
