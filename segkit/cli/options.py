"""Options that several commands share, and the settings that come out of them together with the model's own."""

import json
from typing import Annotated, Any, Literal

import typer

Tile = Annotated[int | None, typer.Option(min=0, help="Side of the tiles; 0 takes each picture in one piece.")]
Overlap = Annotated[float | None, typer.Option(min=0, max=0.95, help="Share of a tile that its neighbour covers too.")]
Tta = Annotated[Literal["flip", "none"] | None, typer.Option(help="Average over flips of each picture.")]
Threshold = Annotated[
    float | None, typer.Option(min=0, max=1, help="Probability from which a pixel is foreground (sigmoid maps).")
]
Precision = Annotated[
    Literal["auto", "fp32", "bf16", "fp16"] | None,
    typer.Option(help="Number format of the computation; auto: bf16 where it is native."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout and nothing else there.")]


def settings(
    model: object,
    *,
    tile: int | None,
    overlap: float | None,
    tta: str | None,
    threshold: float | None,
    precision: str | None,
) -> dict[str, Any]:
    """How to predict: the options that were given, else what is kept with the model, else the recipe's defaults."""
    from pydantic import ValidationError

    from segkit.errors import ModelError
    from segkit.recipe import PredictRecipe

    try:
        kept = PredictRecipe.model_validate(getattr(model, "about", {}).get("predict", {}))
    except ValidationError as error:
        raise ModelError(f"the settings kept with the model are damaged: {error.errors()[0]['msg']}") from None
    values = kept.model_dump()
    given = {"overlap": overlap, "threshold": threshold, "precision": precision}
    values.update({key: value for key, value in given.items() if value is not None})
    if tile is not None:
        values["tile"] = tile or None
    if tta is not None:
        values["tta"] = None if tta == "none" else tta
    return values


def print_json(value: object) -> None:
    """Print a value as indented JSON; what isn't a number any more (an undefined figure) becomes null."""
    typer.echo(json.dumps(_plain(value), indent=2, allow_nan=False))


def _plain(value: object) -> object:
    """The same value in types that JSON has."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else None
    if value is None or isinstance(value, str | int):
        return value
    item = getattr(value, "item", None)  # a number from numpy or torch
    return _plain(item()) if item is not None else str(value)
