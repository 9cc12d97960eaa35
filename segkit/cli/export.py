"""``segkit export``: a model as one file for other programs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from segkit.cli.options import Json, print_json, told
from segkit.errors import UsageError

if TYPE_CHECKING:
    from segkit.exporting.run import Exported
    from segkit.onnx_model import ExportDescription

EPILOG = "Example: segkit export runs/demo/model --to onnx -o cells.onnx"


def export(
    model: Annotated[Path, typer.Argument(help="A saved model: its folder, or a zip of it.")],
    to: Annotated[
        Literal["onnx", "torch-export"], typer.Option(help="An ONNX file, or a program of torch.export (.pt2).")
    ] = "onnx",
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="The file; by default named like the model, beside it.")
    ] = None,
    pixels: Annotated[
        Literal["uint8", "uint16", "float32"] | None,
        typer.Option(help="Type of the values that go in; by default what the model's intensity window needs."),
    ] = None,
    int8: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Compute in 8 bits; pictures, or a dataset, to choose their ranges by."),
    ] = None,
    images: Annotated[
        int | None, typer.Option(help="With --int8: at most so many pictures to choose by; normally 32.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a model as one file that turns pixels into probabilities by itself, for any batch, height and width.

    Scaling (but of volumes that each have a window of their own), normalisation, activation and an ensemble's weighted
    mean are inside. The file is compared with the model
    at five sizes, and not written where they differ. With --int8 its cost in accuracy is measured and printed.
    A model with depth takes that as a second input.
    """
    from segkit.artifact import DESCRIPTION, load_segmentation
    from segkit.exporting.run import SUFFIXES
    from segkit.exporting.run import export as run_export

    if images is not None and int8 is None:
        raise UsageError("--images is for --int8, which chooses ranges by pictures; name their folder by --int8")
    model = model.resolve()  # of "." too
    if model.name == DESCRIPTION:
        model = model.parent
    path = out or (model.with_suffix(SUFFIXES[to]) if model.is_file() else model.with_name(model.name + SUFFIXES[to]))
    done = run_export(load_segmentation(model), path, to, pixels=pixels, int8=int8, **told(images=images))
    if as_json:
        print_json(_row(done))
    else:
        typer.echo(_text(done))


def _row(done: "Exported") -> dict[str, Any]:
    cost = None if done.cost is None else vars(done.cost)
    return {"file": str(done.path), "bytes": done.path.stat().st_size, **done.description.model_dump(), "int8": cost}


def _text(done: "Exported") -> str:
    about, size = done.description, done.path.stat().st_size / 1e6
    opset = f"opset {about.opset}, " if about.opset is not None else ""
    depth = {
        None: "",
        "metres": " and depth float32 [batch, height, width, 2], metres and validity,",
        "values": f" and depth float32 [batch, height, width, {about.reader.depth_channels + 1}], values and validity,",
    }[about.depth]
    lines = [
        f"{done.path}: {opset}{size:.1f} MB, {about.pixels} [batch, height, width, {about.reader.channels}]{depth} → "
        f"probabilities of {', '.join(about.classes if about.task != 'binary' else about.classes[-1:])}",
    ]
    if about.agreement is not None:
        tried = f"in float32, on {len(about.agreement.sizes)} sizes"
        lines.append(f"largest difference from the model {tried}: {about.agreement.difference:.1e}")
    outside = _outside(about)
    if outside:
        lines.append(f"not inside, for other programs to do: {', '.join(outside)}")
    if done.cost is not None:
        cost = done.cost
        against = "the masks" if cost.truth == "masks" else "the labels in float32"
        lines += [
            f"int8: {cost.score} {cost.int8:.4f} against {against}, {cost.fp32:.4f} in float32 "
            f"({100 * (cost.int8 - cost.fp32):+.2f} points, {cost.pictures} held-out pictures)",
            f"int8: {1000 * cost.int8_seconds:.0f} ms a tile, {1000 * cost.fp32_seconds:.0f} ms in float32",
        ]
    return "\n".join(lines)


def _outside(about: "ExportDescription") -> list[str]:
    """What segkit does around the graph, because it is kept with the model, and the graph doesn't."""
    from segkit.exporting.graph import in_graph

    settings, reader = about.about.get("predict") or {}, about.reader
    found = []
    if about.pixels == "float32" and in_graph(reader) != reader:
        of = "each volume's own intensities" if reader.window == "picture" else "the file's own intensities"
        found.append(f"scaling {of} to 0..1")
    if reader.mpp is not None:
        found.append(f"bringing pictures to {reader.mpp:g} microns per pixel")
    if reader.slices is not None and reader.slices.spacing is not None:
        found.append(f"bringing slices to {reader.slices.spacing:g} mm")
    if reader.slices is not None and len(reader.slices.planes) > 1:
        found.append(f"the mean over planes ({', '.join(reader.slices.planes)})")
    if settings.get("tile"):
        found.append(f"tiles of {settings['tile']}")
    if settings.get("tta"):
        found.append(f"the mean over views ({settings['tta']})")
    if settings.get("postprocess"):
        found.append("postprocessing")
    return found
