"""``segkit predict``: masks, and what else is asked for, of many pictures."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from segkit.cli.options import Json, Overlap, Precision, Threshold, Tile, Tta, print_json, told
from segkit.cli.progress import progress_bar
from segkit.errors import DataError

if TYPE_CHECKING:
    from segkit.prediction.predictor import Outcome

EPILOG = "Example: segkit predict runs/demo/model images/*.png -o masks --overlay"


def predict(
    model: Annotated[Path, typer.Argument(help="A saved model: its folder, or a zip of it.")],
    inputs: Annotated[list[str], typer.Argument(metavar="INPUT", help="Pictures, folders of them, or patterns.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the results.")],
    overlay: Annotated[bool, typer.Option("--overlay", help="Draw the classes over the picture.")] = False,
    probability: Annotated[bool, typer.Option("--probability", help="Write the probabilities.")] = False,
    entropy: Annotated[bool, typer.Option("--entropy", help="Write how unsure each pixel is.")] = False,
    disagreement: Annotated[
        bool, typer.Option("--disagreement", help="Write how far an ensemble's members disagree.")
    ] = False,
    tile: Tile = None,
    overlap: Overlap = None,
    tta: Tta = None,
    threshold: Threshold = None,
    precision: Precision = None,
    as_json: Json = False,
) -> None:
    """Draw the masks of pictures of any size.

    Options that aren't given are those kept with the model.

    A picture that can't be read is reported, and the others go on; the exit code is then 3.
    """
    from segkit.artifact import load
    from segkit.prediction.predictor import Predictor

    predictor = Predictor(load(model), **told(tile=tile, overlap=overlap, tta=tta, precision=precision))
    with progress_bar("predicting") as show:
        outcomes = predictor.predict_files(
            inputs,
            out,
            overlay=overlay,
            probability=probability,
            entropy=entropy,
            disagreement=disagreement,
            **told(threshold=threshold),
            progress=show,
        )
    if not outcomes:
        raise DataError(f"{', '.join(inputs)}: no pictures there")
    for outcome in outcomes:
        if outcome.error is not None:
            typer.echo(f"error: {outcome.error}", err=True)
    failed = sum(outcome.error is not None for outcome in outcomes)
    if as_json:
        print_json([_row(outcome) for outcome in outcomes])
    else:
        seconds = sum(outcome.seconds for outcome in outcomes)
        typer.echo(f"{len(outcomes) - failed} of {len(outcomes)} pictures predicted into {out} in {seconds:.1f} s")
    if failed:
        raise typer.Exit(DataError.exit_code)


def _row(outcome: "Outcome") -> dict[str, object]:
    return {
        "input": str(outcome.source),
        "outputs": [str(path) for path in outcome.paths],
        "error": outcome.error,
        "seconds": round(outcome.seconds, 3),
    }
