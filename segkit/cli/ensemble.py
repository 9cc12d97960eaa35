"""``segkit ensemble``: trained models put together as one, fitted, and looked into."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from segkit.cli.options import Json, Overlap, Precision, Tile, Tta, print_json, told
from segkit.cli.progress import progress_bar
from segkit.errors import UsageError

BUILD = "build"


class _ModelsFirst(TyperGroup):
    """``segkit ensemble MODEL...`` means ``segkit ensemble build MODEL...``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        named = bool(args) and (args[0] in self.commands or args[0] in ("-h", "--help"))
        return super().parse_args(ctx, args if named or not args else [BUILD, *args])


app = typer.Typer(
    cls=_ModelsFirst,
    help="Put trained models together as one, fit how they are combined, and look into an ensemble. "
    "'segkit ensemble MODEL... -o OUT' is short for 'segkit ensemble build MODEL... -o OUT'.",
    no_args_is_help=True,
)


@app.command(BUILD, epilog="Example: segkit ensemble build runs/demo/model --fit cells --weights class -o fitted")
def build(
    models: Annotated[
        list[Path], typer.Argument(metavar="MODEL...", help="Saved models; of an ensemble, its members one by one.")
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the ensemble.")],
    data: Annotated[
        Path | None, typer.Option("--fit", metavar="DATA", help="Fit on this dataset; without it all count alike.")
    ] = None,
    split: Annotated[
        str, typer.Option(help="Which pictures to fit on; no member may have been trained on them.")
    ] = "val",
    weights: Annotated[
        Literal["uniform", "score", "member", "class", "gate", "stack"] | None,
        typer.Option(
            help="With --fit: equal weights; by each member's score; fitted by member, the default, or by class; by "
            "pixel; a network."
        ),
    ] = None,
    of: Annotated[
        Literal["probabilities", "logits"], typer.Option("--mean-of", help="What is averaged.")
    ] = "probabilities",
    temperature: Annotated[
        bool, typer.Option("--temperature/--no-temperature", help="Fit how sure members and the whole are, too.")
    ] = True,
    seed: Annotated[int, typer.Option(help="Of all draws.")] = 0,
    tile: Tile = None,
    overlap: Overlap = None,
    tta: Tta = None,
    precision: Precision = None,
    as_json: Json = False,
) -> None:
    """Put trained models together as one model folder, which every command takes like any other.

    With --fit, weights and temperatures are fitted on held-out pictures. What doesn't do better than equal weights on
    pictures it wasn't fitted on isn't kept, and it is said so.
    """
    from segkit.artifact import check_place, save
    from segkit.fitting.assemble import assemble
    from segkit.fitting.inspection import inspect
    from segkit.fitting.run import fit

    if weights not in (None, "uniform") and data is None:
        raise UsageError(f"--weights {weights}: nothing to fit it on; name a dataset by --fit")
    check_place(out)
    ensemble = assemble(models)
    notes: tuple[str, ...] = ()
    scores: dict[str, Any] = {}
    if data is not None:
        how = told(tile=tile, overlap=overlap, tta=tta, precision=precision)
        with progress_bar("predicting") as show:
            fitted = fit(
                ensemble,
                data,
                split,
                weights=weights or "member",
                of=of,
                temperature=temperature,
                seed=seed,
                progress=show,
                **how,
            )
        ensemble, notes = fitted.model, fitted.notes
        scores = {"score": fitted.score, "alone": fitted.scores}
    save(ensemble, out)
    inside = inspect(ensemble)
    if as_json:
        figures = {key: value for key, value in inside.figures.items() if value is not None}
        print_json({**figures, **scores, "notes": list(notes), "model": str(out)})
        return
    typer.echo(inside.table())
    if scores:
        typer.echo(f"{scores['score']}, alone: " + ", ".join(f"{n} {v:.4f}" for n, v in scores["alone"].items()))
    for note in notes:
        typer.echo(note)
    typer.echo(f"ensemble saved in {out}")


@app.command("soup", epilog="Example: segkit ensemble soup runs/a/model runs/b/model --fit cells -o soup")
def soup(
    models: Annotated[
        list[Path], typer.Argument(metavar="MODEL...", help="Saved models that began with the same weights.")
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the model.")],
    data: Annotated[Path, typer.Option("--fit", metavar="DATA", help="The dataset that is scored on.")],
    split: Annotated[str, typer.Option(help="Its pictures; no model may have been trained on them.")] = "val",
    tile: Tile = None,
    overlap: Overlap = None,
    tta: Tta = None,
    precision: Precision = None,
    as_json: Json = False,
) -> None:
    """Average the weights of models greedily into one model: each is taken in if the score doesn't fall by it."""
    from segkit.artifact import check_place, save
    from segkit.fitting.assemble import loaded
    from segkit.fitting.soup import soup as make_soup

    check_place(out)
    with progress_bar("scoring") as show:
        how = told(tile=tile, overlap=overlap, tta=tta, precision=precision)
        made = make_soup(loaded(models), data, split, progress=show, **how)
    save(made.model, out)
    if as_json:
        figures = {"kept": made.kept, "score": made.score, "alone": made.scores, "whole": made.whole}
        print_json({**figures, "model": str(out)})
        return
    typer.echo(f"{made.score}, alone: " + ", ".join(f"{name} {value:.4f}" for name, value in made.scores.items()))
    typer.echo(f"in the soup: {', '.join(made.kept)}; {made.score} {made.whole:.4f}")
    typer.echo(f"model saved in {out}")


@app.command("inspect", epilog="Example: segkit ensemble inspect runs/demo/model cells -o inside")
def inspect(
    model: Annotated[Path, typer.Argument(help="A saved ensemble.")],
    data: Annotated[Path | None, typer.Argument(help="A dataset's folder, to count on.")] = None,
    split: Annotated[str, typer.Option(help="Which pictures.")] = "test",
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Folder for the figures, and for the agreement as a picture.")
    ] = None,
    tile: Tile = None,
    overlap: Overlap = None,
    tta: Tta = None,
    precision: Precision = None,
    as_json: Json = False,
) -> None:
    """Show an ensemble's weights and, on a dataset, each member alone, the rest without it, and how far they agree."""
    from segkit.artifact import load_segmentation
    from segkit.ensemble import Ensemble
    from segkit.errors import ModelError
    from segkit.fitting.inspection import inspect as look
    from segkit.prediction.writers import output_folder

    if out is not None:
        output_folder(out)
    ensemble = load_segmentation(model)
    if not isinstance(ensemble, Ensemble):
        raise ModelError(f"{model}: a single model; segkit ensemble MODEL... -o OUT makes an ensemble of several")
    how = told(tile=tile, overlap=overlap, tta=tta, precision=precision)
    with progress_bar("predicting") as show:
        inside = look(ensemble, data, split, progress=show, **how)
    if as_json:
        print_json(inside.figures)
    else:
        typer.echo(inside.table())
    if out is not None:
        inside.save(out)
