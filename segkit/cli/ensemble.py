"""``segkit ensemble``: trained models put together as one, fitted, and looked into."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from segkit.cli.options import (
    Json,
    Overlap,
    Precision,
    Tile,
    Tta,
    check_for_labels,
    check_model_place,
    print_json,
    told,
)
from segkit.cli.progress import progress_bar
from segkit.cli.report_folder import INSPECTION, report_folder
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
    epilog="Example: segkit ensemble runs/demo/model --fit cells -o fitted",
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
        Literal["uniform", "score", "member", "class", "gate", "stack", "early"] | None,
        typer.Option(
            help="With --fit. uniform: all alike; score: by each member's score; member: one fitted each, the default; "
            "class: one each and class; of masks, gate: by pixel, and stack: a small network on top; of classifiers, "
            "early: a joint head on their features, trained on train."
        ),
    ] = None,
    of: Annotated[
        Literal["probabilities", "logits"], typer.Option("--mean-of", help="What is averaged.")
    ] = "probabilities",
    temperature: Annotated[
        bool, typer.Option("--temperature/--no-temperature", help="Fit temperatures of members and of the whole, too.")
    ] = True,
    seed: Annotated[int, typer.Option(help="Of all draws.")] = 0,
    tile: Tile = None,
    overlap: Overlap = None,
    tta: Tta = None,
    precision: Precision = None,
    as_json: Json = False,
) -> None:
    """Put trained models together as one model folder, which every command takes like any other.

    The models all draw masks, or all give whole images a label. With --fit, weights and temperatures are fitted on
    held-out pictures. What doesn't do better than equal weights on pictures it wasn't fitted on isn't kept, and it is
    said so.
    """
    from segkit.artifact import draws_masks, save
    from segkit.fitting.assemble import assemble
    from segkit.fitting.inspection import inspect
    from segkit.fitting.run import fit

    if weights not in (None, "uniform") and data is None:
        raise UsageError(f"--weights {weights}: nothing to fit it on; name a dataset by --fit")
    check_model_place(out, models, in_place=len(models) == 1 and data is not None)
    of_masks = {"--tile": tile, "--overlap": overlap, "--tta": tta, "--precision": precision}
    labels = next((path for path in models if not draws_masks(path)), None)
    if labels is not None:
        check_for_labels(labels, of_masks)
    of_fit = {
        **of_masks,
        "--no-temperature": None if temperature else True,
        "--split": None if split == "val" else split,
        "--seed": seed or None,
    }
    given = [option for option, value in of_fit.items() if value is not None]
    if given and data is None:
        raise UsageError(f"{given[0]}: is about fitting; name a dataset by --fit")
    if labels is not None:
        _build_classifiers(models, out, data, split, weights, of, temperature, seed, as_json)
        return
    if weights == "early":
        raise UsageError(
            "--weights early: a joint head on classifiers' features; of masks, train one network of several backbones, "
            "{name: joint, of: [...]}"
        )
    ensemble, notes = assemble(models, of)
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
        ensemble, notes = fitted.model, [*notes, *fitted.notes]
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


def _build_classifiers(
    models: list[Path],
    out: Path,
    data: Path | None,
    split: str,
    weights: str | None,
    of: Literal["probabilities", "logits"],
    temperature: bool,
    seed: int,
    as_json: bool,
) -> None:
    """The same of classifiers."""
    from segkit.artifact import save
    from segkit.classification.assemble import assemble, loaded
    from segkit.classification.ensemble import ClassifierEnsemble
    from segkit.classification.fuse import WAYS, fuse
    from segkit.classification.inspection import inspect_classifiers
    from segkit.classification.joint import JointClassifier
    from segkit.labelled.opening import open_labelled

    way = next((each for each in WAYS if each == (weights or "member")), None)
    if way is None:
        raise UsageError(f"--weights {weights}: looks at pixels; for classifiers take one of {', '.join(WAYS)}")
    if way == "early" and of == "logits":
        raise UsageError("--mean-of: a joint head averages nothing; leave it out")
    notes: list[str] = []
    figures: dict[str, Any] = {}
    model: ClassifierEnsemble | JointClassifier
    if data is None:
        model, notes = assemble(models, of)
    else:
        images, members = open_labelled(data), loaded(models)
        with progress_bar("features") as show:
            found = fuse(members, images, [way], split=split, of=of, temperature=temperature, seed=seed, progress=show)
        fused = found[way]
        model, notes = fused.model, [*images.notes, *fused.notes]
        figures = {"score": f"top-1 on {split}", "alone": fused.scores}
    save(model, out)
    if isinstance(model, ClassifierEnsemble):
        inside = inspect_classifiers(model)
        table, figures = inside.table(), {**inside.figures, **figures}
    else:
        table = f"{len(model.names)} classifiers under a joint head: {', '.join(model.names)}"
        figures = {"names": list(model.names), "combination": "joint head", "temperature": model.temperature, **figures}
    if as_json:
        shown = {key: value for key, value in figures.items() if value is not None}
        print_json({**shown, "notes": list(notes), "model": str(out)})
        return
    typer.echo(table)
    if data is not None:
        typer.echo(f"{figures['score']}, alone: " + ", ".join(f"{n} {v:.4f}" for n, v in figures["alone"].items()))
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
    from segkit.artifact import save
    from segkit.fitting.assemble import loaded
    from segkit.fitting.soup import soup as make_soup

    check_model_place(out, models, in_place=False)
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
    split: Annotated[str, typer.Option(help="Which pictures; several splits are joined by +.")] = "test",
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
    from segkit.artifact import draws_masks, load
    from segkit.classification.ensemble import ClassifierEnsemble
    from segkit.classification.inspection import inspect_classifiers
    from segkit.ensemble import Ensemble
    from segkit.errors import ModelError
    from segkit.fitting.inspection import inspect as look

    how = told(tile=tile, overlap=overlap, tta=tta, precision=precision)
    given = [*(f"--{option}" for option in how), *(["--split"] if split != "test" else [])]
    if data is None and given:
        raise UsageError(f"{given[0]}: is about counting; name a dataset, too")
    labels = data is not None and not draws_masks(model)
    with report_folder(out, data, INSPECTION, labels=labels), progress_bar("looking") as show:
        ensemble: object = load(model)
        if isinstance(ensemble, ClassifierEnsemble):
            check_for_labels(model, {f"--{option}": value for option, value in how.items()})
            inside = inspect_classifiers(ensemble, data, split, progress=show)
        elif isinstance(ensemble, Ensemble):
            inside = look(ensemble, data, split, progress=show, **how)
        else:
            raise ModelError(
                f"{model}: no ensemble whose members can be looked at (a single model, an exported one, or "
                "classifiers under a joint head); segkit ensemble MODEL... -o OUT makes an ensemble of several"
            )
    if as_json:
        print_json(inside.figures)
    else:
        typer.echo(inside.table())
    if out is not None:
        inside.save(out)
