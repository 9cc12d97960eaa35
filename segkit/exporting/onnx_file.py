"""A model as one ONNX file."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from segkit.data.reader import Reader
from segkit.errors import UsageError
from segkit.exporting.graph import (
    Probabilities,
    Scaling,
    example_depth,
    example_image,
    example_pixels,
    open_sizes,
    traced,
)
from segkit.onnx_model import DEPTH, IMAGE, KEY, PIXELS, PROBABILITIES, Description, PixelType, require_onnx, start

SIZES = ("batch", "height", "width")
OPSET = 18  # the first whose Resize averages where it shrinks; in runtimes since 2023
LARGEST_FILE = 2_000_000_000  # bytes; a protobuf message holds 2³¹, and the graph needs some of them


def check_size(model: nn.Module) -> None:
    """Raise UsageError where the model's tensors don't fit into one file."""
    size = sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values())
    if size > LARGEST_FILE:
        raise UsageError(f"the model has {size / 1e9:.1f} GB, one ONNX file holds 2; export it with --to torch-export")


def image_graph(probabilities: Probabilities, reader: Reader) -> Any:
    """The model as an ``onnx.ModelProto``: scaled image, and depth if it is taken, in, probabilities out."""
    depth = example_depth(reader)
    names = [IMAGE, *([DEPTH] if depth else [])]
    proto = _translated(
        probabilities, [example_image(reader), *depth], names, PROBABILITIES, heights=[2, *[1] * len(depth)]
    )
    shape = proto.graph.input[0].type.tensor_type.shape
    sides = {shape.dim[at].dim_param: name for at, name in zip((0, 2, 3), SIZES, strict=True)}
    for value in (*proto.graph.input, *proto.graph.output, *proto.graph.value_info):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param in sides:
                dim.dim_param = sides[dim.dim_param]
    return proto


def pixel_graph(image_graph: Any, reader: Reader, pixels: PixelType) -> Any:
    """The same behind the reader's scaling: pixels, and depth if it is taken, in, probabilities out."""
    onnx, _ = require_onnx()
    scaling = _translated(Scaling(reader, pixels), [example_pixels(reader, pixels)], [PIXELS], IMAGE, heights=[1])
    scaling = onnx.compose.add_prefix(scaling, "reader/", rename_inputs=False, rename_outputs=False)
    scaling.ir_version = image_graph.ir_version
    # Names of sizes inside it were given apart from those of the model's graph, and would be taken for the same ones.
    del scaling.graph.value_info[:]
    scaling.graph.output[0].CopyFrom(image_graph.graph.input[0])
    _name_sizes(scaling.graph.input[0])
    whole = onnx.compose.merge_models(scaling, image_graph, [(IMAGE, IMAGE)], name="segkit", producer_name="segkit")
    if all(value.name != IMAGE for value in whole.graph.value_info):
        whole.graph.value_info.append(image_graph.graph.input[0])  # its type, for who enters the graph there
    versions = {entry.domain: entry.version for entry in whole.opset_import}
    del whole.opset_import[:]  # merging names some twice
    whole.opset_import.extend(onnx.helper.make_opsetid(domain, version) for domain, version in versions.items())
    return whole


def write_onnx(whole: Any, description: Description, path: Path) -> None:
    """Write a graph with its description into one file."""
    onnx, _ = require_onnx()
    del whole.metadata_props[:]
    onnx.helper.set_model_props(whole, {KEY: description.model_dump_json()})
    path.write_bytes(whole.SerializeToString())


def _translated(
    module: nn.Module, examples: Sequence[Tensor], names: Sequence[str], found: str, *, heights: Sequence[int]
) -> Any:
    traced_once = traced(module.eval(), examples, heights=heights)
    with open_sizes():  # it is traced again, in ONNX's operators
        program = torch.onnx.export(
            traced_once,
            input_names=list(names),
            output_names=[found],
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None  # it is None for the old exporter alone
    return program.model_proto


def _name_sizes(pixels: Any) -> None:
    """Name the open dimensions of [B, H, W, C]."""
    for dim, name in zip(pixels.type.tensor_type.shape.dim, SIZES, strict=False):
        dim.dim_param = name


def open_onnx(path: Path) -> Callable[..., Tensor]:
    """What a written file says of pixels [B, H, W, C], and depth [B, H, W, C' + 1] if it takes it, by ONNX Runtime."""
    session = start(path.read_bytes())

    def probabilities(*given: Tensor) -> Tensor:
        named = zip((PIXELS, DEPTH), given, strict=False)
        (found,) = session.run([PROBABILITIES], {name: values.numpy() for name, values in named})
        return torch.from_numpy(found)

    return probabilities
