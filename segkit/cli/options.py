"""Options that several commands share, and what is made of them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from segkit.errors import UsageError
from segkit.json_text import json_text

SMALLEST_TILE = 16  # as in recipes: of smaller ones nothing is seen but borders


def _tile(side: int | None) -> int | None:
    if side is not None and 0 < side < SMALLEST_TILE:
        raise typer.BadParameter(f"{side}; expected {SMALLEST_TILE} or more, or 0 for each picture in one piece")
    return side


Tile = Annotated[int | None, typer.Option(help="Side of the tiles; 0 takes each picture in one piece.", callback=_tile)]
Overlap = Annotated[float | None, typer.Option(help="Share of a tile that its neighbour covers too.")]
Tta = Annotated[
    str | None,
    typer.Option(
        metavar="VIEWS",
        help="Views to average: mirror, flip or d4, scales such as 0.75,1.25, both: flip,1.25; or none.",
    ),
]
Threshold = Annotated[float | None, typer.Option(help="Probability from which a pixel is foreground (sigmoid maps).")]
Precision = Annotated[
    Literal["auto", "fp32", "bf16", "fp16"] | None,
    typer.Option(help="Number format of the computation; auto: bf16 where it is native."),
]
Batch = Annotated[int | None, typer.Option(help="Tiles computed at once; normally by their size and the device.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout and nothing else there.")]


def told(*, tile: int | None = None, tta: str | None = None, **others: float | str | None) -> dict[str, Any]:
    """The options that were given, as ``Predictor`` and ``evaluate`` take them; the others stay the model's own."""
    given: dict[str, Any] = {key: value for key, value in others.items() if value is not None}
    if tile is not None:
        given["tile"] = tile or None
    if tta is not None:
        given["tta"] = None if tta == "none" else tta
    return given


def check_for_labels(model: Path, given: Mapping[str, Any]) -> None:
    """Raise UsageError where an option of masks is given for a model that gives images labels.

    Args:
        model: where it is saved.
        given: values of the options of masks, by what they are called; None and False: not given.
    """
    for option, value in given.items():
        if value is not None and value is not False:
            raise UsageError(f"{option}: is of masks, and {model} gives whole images labels; leave it out")


def check_model_place(out: Path, models: Sequence[Path], *, in_place: bool) -> None:
    """Raise UsageError where the model to be saved at ``out`` can't be, or would take the place of a trained one.

    Args:
        out: a folder that holds nothing else than a saved model, if it is there.
        models: those that the new one is made of.
        in_place: whether the new one is one of them with more to it, so that it may take its place.
    """
    from segkit.artifact import DESCRIPTION, check_place
    from segkit.files import check_writable

    check_place(out)
    check_writable(out)
    place = out.resolve()
    made_of = place in {(model.parent if model.name == DESCRIPTION else model).resolve() for model in models}
    if made_of and not in_place:
        raise UsageError(f"{out}: one of the models that the new one is made of; choose another folder")
    member = len(place.parents) > 2 and place.parents[1].name == "members"  # RUN/members/NAME/model
    run = place.parents[2] if member else place.parent
    trained = place.name == "model" and (place / DESCRIPTION).is_file() and (run / "recipe.yaml").is_file()
    if trained and not made_of:
        raise UsageError(f"{out}: the model that a training run left, which would be lost; choose another folder")


def print_json(value: object) -> None:
    """Print a value as indented JSON; what isn't a number any more (an undefined figure) becomes null."""
    typer.echo(json_text(value))
