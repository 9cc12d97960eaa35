"""``segkit.export``: from a model to one file that turns pixels into probabilities, checked against the model."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, get_args

import torch

import segkit
from segkit.artifact import AnyModel, member_digests
from segkit.ensemble import Ensemble
from segkit.errors import UsageError
from segkit.exporting.check import agreement, check_agreement
from segkit.exporting.graph import FULL, in_float32, pixel_type
from segkit.exporting.int8 import Cost, cost_of, pictures_for, quantised
from segkit.exporting.onnx_file import OPSET, check_size, image_graph, open_onnx, pixel_graph, write_onnx
from segkit.exporting.torch_file import open_program, pixel_program, write_program
from segkit.files import atomic_path, check_writable
from segkit.given_path import given_path
from segkit.model import Segmenter
from segkit.one_line import one_line
from segkit.onnx_model import ExportDescription, PixelType, load_onnx, require_onnx
from segkit.trusting.verdict import without_judge

Format = Literal["onnx", "torch-export"]
SUFFIXES: dict[str, str] = {"onnx": ".onnx", "torch-export": ".pt2"}


@dataclass(frozen=True)
class Exported:
    """An exported file.

    Attributes:
        path: where it is.
        description: what it knows of itself, its difference from the model among it.
        cost: what int8 costs in accuracy and saves in time; None for a file in float32.
    """

    path: Path
    description: ExportDescription
    cost: Cost | None = None


def export(
    model: AnyModel,
    path: str | Path,
    to: Format = "onnx",
    *,
    pixels: PixelType | None = None,
    int8: str | Path | None = None,
    images: int = 32,
) -> Exported:
    """Write a model as one file that turns pixels [B, H, W, C] into probabilities float32 [B, maps, H, W].

    Batch, height and width are open, sides from 33 up. The reader's scaling, the normalisation, the model, sigmoid or
    softmax, and an ensemble's weighted mean are all inside. Before the file gets its name it is compared with the model
    at five sizes. What is done around the network is not inside: tiles, the views of ``predict.tta``,
    ``predict.postprocess``, another resolution (``data.mpp``, ``data.slices``). ``segkit`` does it to the file's
    probabilities as to the model's, other programs don't.

    A model with a second modality takes that as a second input ``depth``, float32 [B, H, W, C' + 1] as
    :func:`segkit.data.depth.read_depth` gives it; its encoding is inside. All zeros are a picture without.

    Args:
        model: a ``Segmenter`` or an ``Ensemble``.
        path: of the file.
        to: ``onnx``, or ``torch-export`` for ``torch.export.load``.
        pixels: type of the values that go in; by default what the reader's window needs, uint8 without one. float32
            without a window means 0..1. A model of volumes takes one slice, with its neighbours as channels; where each
            volume has its own window, its values scaled by that.
        int8: compute in eight bits (ONNX alone): a folder of pictures, or a dataset, to choose their ranges by. What it
            costs is measured on other pictures of the folder. A model with a second modality needs a dataset with it.
        images: at most so many pictures to choose the ranges by, and as many to measure the cost on.

    Raises:
        UsageError: an unknown format or type, a model that isn't PyTorch's, a graph that can't be made for every size,
            a model too large for ONNX, a library that isn't installed, or a place that can't be written to.
        DataError: pictures for int8 that can't be read, fewer than two, or without the second modality.
        ModelError: the file's probabilities differ from the model's by more than 1e-4; nothing is written then.
    """
    path, folder = given_path(path, "path"), None if int8 is None else given_path(int8, "int8")
    model = _check(model, path, to, pixels, int8, images)
    pixels = pixels or pixel_type(model.reader)
    pictures = pictures_for(folder, images, model) if folder is not None else None
    plain = in_float32(model)
    description = _describe(model, pixels, OPSET if to == "onnx" else None)
    write: Callable[[ExportDescription, Path], None]
    try:
        if to == "onnx":
            graph = image_graph(plain.blendable, model.reader)
            write = partial(write_onnx, pixel_graph(graph, model.reader, pixels, plain.tempering))
        else:
            write = partial(write_program, pixel_program(plain, model.reader, pixels))
    except Exception as error:  # the tracer's own kinds are many, and change with its version
        raise UsageError(f"the model has no graph for every size: {_first_cause(error)}") from error
    opened = open_onnx if to == "onnx" else open_program

    with atomic_path(path) as temporary:
        write(description, temporary)
        found = agreement(_on_cpu(model), opened(temporary), pixels)
        check_agreement(found)
        description = description.model_copy(update={"agreement": found})
        write(description, temporary)
        if pictures is None:
            return Exported(path, description)
        exact = load_onnx(temporary)
        small = quantised(graph, pictures, exact)
        # In eight bits predictions show other signs of their quality than those that the model was taught by.
        description = description.model_copy(update={"precision": "int8", "about": without_judge(description.about)})
        write_onnx(pixel_graph(small, model.reader, pixels, plain.tempering), description, temporary)
        return Exported(path, description, cost_of(exact, load_onnx(temporary), pictures))


def _check(
    model: AnyModel, path: Path, to: str, pixels: PixelType | None, int8: object, images: int
) -> Segmenter | Ensemble:
    """The model; UsageError for what can't be exported so."""
    if to not in get_args(Format):
        raise UsageError(f"to={to!r}: expected one of {', '.join(get_args(Format))}")
    if path.suffix != SUFFIXES[to]:
        raise UsageError(f"{path}: expected a name that ends in {SUFFIXES[to]}")
    if path.is_dir():
        raise UsageError(f"{path}: a folder; name the file to write")
    check_writable(path.parent)
    if pixels is not None and pixels not in get_args(PixelType):
        raise UsageError(f"pixels={pixels!r}: expected one of {', '.join(get_args(PixelType))}")
    if not isinstance(model, Segmenter | Ensemble):
        raise UsageError(f"{type(model).__name__} can't be exported; give a Segmenter or an Ensemble")
    if int8 is not None and model.reader.slices is not None:
        raise UsageError("int8 chooses its ranges by pictures; a model of volumes is exported in float32")
    if int8 is not None and to != "onnx":
        raise UsageError("int8 is for ONNX; a program of torch-export is in float32")
    if type(images) is not int or images < 1:
        raise UsageError(f"images={images!r}: expected 1 or more pictures")
    window = model.reader.window
    if isinstance(window, tuple) and pixels in ("uint8", "uint16"):
        low, high = window
        if low < 0 or high > FULL[pixels]:
            raise UsageError(
                f"pixels={pixels}: the model's window is {low:g} to {high:g}, which they can't hold; take float32"
            )
    if to == "onnx":
        require_onnx("onnxscript")  # PyTorch translates by it
        check_size(model)
    return model


def _on_cpu(model: Segmenter | Ensemble) -> Segmenter | Ensemble:
    """The model, or a copy where it is on a GPU, which rounds convolutions more."""
    there = all(tensor.device.type == "cpu" for tensor in model.parameters())
    return model if there else copy.deepcopy(model).to("cpu")


def _describe(model: Segmenter | Ensemble, pixels: PixelType, opset: int | None) -> ExportDescription:
    return ExportDescription(
        segkit=segkit.__version__,
        torch=torch.__version__,
        opset=opset,
        kind="ensemble" if isinstance(model, Ensemble) else "segmenter",
        task=model.task,
        classes=list(model.classes),
        background=model.background,
        reader=model.reader,
        pixels=pixels,
        depth=("metres" if model.reader.metric else "values") if model.reader.depth_channels else None,
        whole_images=model.takes_whole_images,
        temperature=getattr(model, "temperature", 1.0),
        members=member_digests(model),
        about=model.about,
    )


def _first_cause(error: BaseException) -> str:
    """What is raised from it speaks of the tracer's own steps."""
    while error.__cause__ is not None:
        error = error.__cause__
    return one_line(error)
