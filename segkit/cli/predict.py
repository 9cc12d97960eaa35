"""``segkit predict``: masks, or a classifier's labels, of many pictures; or a video of what was found in a video."""

import logging
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from segkit.cli.options import (
    Batch,
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
from segkit.errors import DataError, UsageError

if TYPE_CHECKING:
    from segkit.data.depth_format import DepthFormat
    from segkit.prediction.many import Outcome
    from segkit.prediction.predictor import Predictor

MOST_GIB = 1 << 20
LISTED = 20  # labels that are printed
EPILOG = "Example: segkit predict runs/demo/model images/*.png -o masks --overlay"
WITHOUT_DEPTH = "note: the model takes depth too (--depth FOLDER of pictures); these are predicted without"


def predict(
    model: Annotated[Path, typer.Argument(help="A saved model: its folder, a zip of it, or an exported .onnx.")],
    inputs: Annotated[
        list[str], typer.Argument(metavar="INPUT", help="Pictures, volumes, folders, patterns; or one video.")
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the results; of a video, the video to write.")],
    overlay: Annotated[bool, typer.Option("--overlay", help="Draw the classes over the picture.")] = False,
    probability: Annotated[bool, typer.Option("--probability", help="Write the probabilities.")] = False,
    entropy: Annotated[bool, typer.Option("--entropy", help="Write how unsure each pixel is.")] = False,
    disagreement: Annotated[
        bool, typer.Option("--disagreement", help="Write how far an ensemble's members disagree.")
    ] = False,
    report: Annotated[
        bool,
        typer.Option("--report", help="Measure each class, draw previews, and put all of it into index.html."),
    ] = False,
    pseudonymise: Annotated[
        bool, typer.Option("--pseudonymise", help="Name outputs by the images' content, not by their files' names.")
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where a run into the same folder ended; what is done is kept.")
    ] = False,
    depth: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="The pictures' depth, or the second modality that the model takes."),
    ] = None,
    depth_unit: Annotated[
        str | None,
        typer.Option(
            metavar="UNIT", help="Unit of these files, mm, m, 0.1mm, … or relative; normally that of training."
        ),
    ] = None,
    mpp: Annotated[
        float | None,
        typer.Option(metavar="MICRONS", help="Microns per pixel that the pictures have; normally what they say."),
    ] = None,
    tile: Tile = None,
    overlap: Overlap = None,
    tta: Tta = None,
    threshold: Threshold = None,
    precision: Precision = None,
    batch: Batch = None,
    limit: Annotated[
        float | None, typer.Option(metavar="GIB", help="Memory that decoding a picture may take; normally 1.")
    ] = None,
    compile_model: Annotated[
        bool,
        typer.Option("--compile", help="Compile first: some seconds to two minutes, that some hundred tiles pay back."),
    ] = False,
    offload: Annotated[
        bool, typer.Option("--offload", help="Keep one member of an ensemble on the GPU at a time.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Draw the masks of pictures of any size.

    Options that aren't given are those kept with the model.

    A picture that can't be read is reported, and the others go on; the exit code is then 3. manifest.jsonl in the
    output folder has a line a picture.

    A classifier gives each picture a label instead: predictions.csv and predictions.json, with the five most probable.
    """
    from segkit.artifact import draws_masks
    from segkit.prediction.predictor import Predictor
    from segkit.prediction.video import VIDEOS

    how = told(tile=tile, overlap=overlap, tta=tta, precision=precision, batch=batch)
    if limit is not None:
        if not 0 < limit < MOST_GIB:
            raise UsageError(f"--limit {limit:g}: expected GiB, above 0 and below {MOST_GIB:,}")
        how["limit"] = int(limit * 2**30)
    if not draws_masks(model):
        given = {
            "--overlay": overlay,
            "--probability": probability,
            "--entropy": entropy,
            "--disagreement": disagreement,
            "--report": report,
            "--pseudonymise": pseudonymise,
            "--resume": resume,
            "--depth": depth,
            "--depth-unit": depth_unit,
            "--mpp": mpp,
            "--tile": tile,
            "--overlap": overlap,
            "--tta": tta,
            "--threshold": threshold,
            "--compile": compile_model,
            "--offload": offload,
        }
        check_for_labels(model, given)
        _label(model, inputs, out, how, as_json)
        return
    video = any(Path(name).suffix.lower() in VIDEOS for name in inputs)
    if video and len(inputs) > 1:
        raise UsageError("a video is predicted by itself; leave the other inputs out")
    of_pictures = probability or entropy or disagreement or resume or depth or report or pseudonymise
    if video and (of_pictures or mpp is not None):
        raise UsageError("of a video only the overlay is written; leave the options for pictures out")
    if depth_unit is not None and depth is None:
        raise UsageError("--depth-unit is of depth; name its folder by --depth")
    if not video and out.suffix.lower() in VIDEOS:
        raise UsageError(f"{out}: pictures have their results in a folder; name one")
    if compile_model:
        for name in ("torch._inductor", "torch.utils.cpp_extension"):  # what they say meanwhile is no one's concern
            logging.getLogger(name).setLevel(logging.ERROR)
    predictor = Predictor(model, **how, compile=compile_model, offload=offload)
    if video:
        _predict_video(predictor, Path(inputs[0]), out, threshold, as_json)
        return
    start = time.perf_counter()
    with progress_bar("predicting") as show:
        outcomes = predictor.predict_files(
            inputs,
            out,
            overlay=overlay,
            probability=probability,
            entropy=entropy,
            disagreement=disagreement,
            **told(threshold=threshold),
            depth=depth,
            depth_format=_meaning(predictor, depth_unit),
            mpp=mpp,
            report=report,
            pseudonymise=pseudonymise,
            resume=resume,
            progress=show,
        )
    if not outcomes:
        raise DataError(f"{', '.join(inputs)}: no pictures there")
    for outcome in outcomes:
        if outcome.error is not None:
            typer.echo(f"error: {outcome.error}", err=True)
        elif outcome.skipped is not None:
            typer.echo(f"left out: {outcome.source}: {outcome.skipped}", err=True)
    failed = sum(outcome.error is not None for outcome in outcomes)
    images = [outcome for outcome in outcomes if outcome.skipped is None]
    if not images:
        raise DataError(f"{', '.join(inputs)}: no pictures there")
    if as_json:
        print_json([_row(outcome) for outcome in outcomes])
    else:
        kept = sum(outcome.kept for outcome in outcomes)
        typer.echo(
            f"{len(images) - failed} of {len(images)} pictures predicted into {out} in "
            f"{time.perf_counter() - start:.1f} s{f', {kept} of them by an earlier run' if kept else ''}"
        )
        for note, count in Counter(note for outcome in outcomes for note in outcome.notes).items():
            typer.echo(f"note: {note}{f' ({count} pictures)' if count > 1 else ''}")
        if burned := sum(outcome.burned_in for outcome in outcomes):
            typer.echo(f"warning: text, names among it, may be burned into the pixels of {burned} of them")
        bare = sum(outcome.depth is None for outcome in images if outcome.error is None)
        if depth is None and predictor.model.reader.depth_channels:
            typer.echo(WITHOUT_DEPTH)
        if depth is not None and bare:
            typer.echo(f"note: {bare} of them without depth: {depth} has none that is theirs")
        if predictor.unjudged is not None:
            typer.echo(f"note: how far to trust each picture isn't known: {predictor.unjudged}")
        elif predictor.judge is not None and predictor.labelling(**told(threshold=threshold)) != predictor.labelling():
            typer.echo("note: how far to trust each picture isn't known: it was taught with another threshold")
        for outcome in outcomes:
            if outcome.trust is not None and outcome.trust["verdict"] == "review":
                why = "; ".join(outcome.trust["unlike"]) or f"may be as bad as {outcome.trust['bound']:.2f}"
                typer.echo(f"review {outcome.source}: expected Dice {outcome.trust['predicted_dice']:.2f}, {why}")
    if failed:
        raise typer.Exit(DataError.exit_code)


def _meaning(predictor: "Predictor", unit: str | None) -> "DepthFormat | None":
    """What values of depth mean where their unit is given; what says "not measured" is the same as in training."""
    from segkit.data.depth_format import DepthFormat, values_per_metre

    learnt = predictor.model.reader.depth
    if unit is None or learnt is None:
        return None
    if unit != "relative" and values_per_metre(unit) is None:
        raise UsageError(f"--depth-unit {unit}: expected mm, m, so many of them such as 0.1mm, or relative")
    return DepthFormat(unit=unit, invalid=learnt.invalid)


def _predict_video(predictor: "Predictor", video: Path, out: Path, threshold: float | None, as_json: bool) -> None:
    from segkit.prediction.video import overlay_video

    with progress_bar("predicting") as show:
        report = overlay_video(predictor, video, out, **told(threshold=threshold), progress=show)
    speed = report.frames / report.seconds
    if as_json:
        latency = {"p50": round(report.p50, 2), "p99": round(report.p99, 2)}
        size = {"height": report.height, "width": report.width, "rate": report.rate}
        print_json(
            {
                "input": str(video),
                "output": str(out),
                "frames": report.frames,
                **size,
                "seconds": round(report.seconds, 3),
                "frames_per_second": round(speed, 3),
                "latency_ms": latency,
            }
        )
    else:
        if predictor.model.reader.depth_channels:
            typer.echo(WITHOUT_DEPTH)
        typer.echo(
            f"{report.frames} frames of {report.width} × {report.height} into {out}: {speed:.1f} a second, "
            f"latency p50 {report.p50:.0f} ms, p99 {report.p99:.0f} ms"
        )


def _label(model: Path, inputs: list[str], out: Path, how: dict[str, Any], as_json: bool) -> None:
    """Labels of pictures by a classifier."""
    from segkit.classification.labelling import label_files
    from segkit.classification.labels_file import label_row

    start = time.perf_counter()
    with progress_bar("predicting") as show:
        found, left_out = label_files(model, inputs, out, **how, progress=show)
    for line in left_out:
        typer.echo(f"left out: {line}", err=True)
    for each in found:
        if each.error is not None:
            typer.echo(f"error: {each.error}", err=True)
    failed = sum(each.error is not None for each in found)
    if as_json:
        print_json([label_row(each) for each in found])
    else:
        for each in [each for each in found if each.error is None][:LISTED]:
            (label, sure), *others = each.best()
            also = ", ".join(f"{name} {probability:.2f}" for name, probability in others[:2])
            typer.echo(f"{each.name}: {label} {sure:.2f}{f' ({also})' if also else ''}")
        if len(found) - failed > LISTED:
            typer.echo(f"… and {len(found) - failed - LISTED:,} more")
        seconds = time.perf_counter() - start
        typer.echo(f"{len(found) - failed} of {len(found)} pictures labelled into {out} in {seconds:.1f} s")
    if failed:
        raise typer.Exit(DataError.exit_code)


def _row(outcome: "Outcome") -> dict[str, object]:
    return {
        "input": str(outcome.source),
        "outputs": [str(path) for path in outcome.paths],
        "error": outcome.error,
        "seconds": round(outcome.seconds, 3),
        "depth": None if outcome.depth is None else str(outcome.depth),
        "kept": outcome.kept,
        "skipped": outcome.skipped,
        "notes": list(outcome.notes),
        "burned_in": outcome.burned_in,
        "trust": outcome.trust,
    }
