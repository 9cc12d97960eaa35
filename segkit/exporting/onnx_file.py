"""A model as one ONNX file."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from segkit.data.reader import Reader
from segkit.errors import UsageError
from segkit.exporting.graph import (
    EXAMPLE,
    Blendable,
    Scaling,
    Tempering,
    example_depth,
    example_image,
    example_pixels,
    open_sizes,
    traced,
)
from segkit.onnx_model import (
    BLENDABLE,
    DEPTH,
    IMAGE,
    KEY,
    PIXELS,
    PROBABILITIES,
    ExportDescription,
    PixelType,
    require_onnx,
    start,
)

SIZES = ("batch", "height", "width")
OPSET = 18  # the first whose Resize averages where it shrinks; in runtimes since 2023
LARGEST_FILE = 2_000_000_000  # bytes; a protobuf message holds 2³¹, and the graph needs some of them


def check_size(model: nn.Module) -> None:
    """Raise UsageError where the model's tensors don't fit into one file."""
    size = sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values())
    if size > LARGEST_FILE:
        raise UsageError(f"the model has {size / 1e9:.1f} GB, one ONNX file holds 2; export it with --to torch-export")


def image_graph(blendable: Blendable, reader: Reader) -> Any:
    """The model as an ``onnx.ModelProto``: scaled image, and depth if it is taken, in, what is blendable out."""
    depth = example_depth(reader)
    names = [IMAGE, *([DEPTH] if depth else [])]
    proto = _translated(blendable, [example_image(reader), *depth], names, BLENDABLE, heights=[2, *[1] * len(depth)])
    shape = proto.graph.input[0].type.tensor_type.shape
    sides = {shape.dim[at].dim_param: name for at, name in zip((0, 2, 3), SIZES, strict=True)}
    for value in (*proto.graph.input, *proto.graph.output, *proto.graph.value_info):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param in sides:
                dim.dim_param = sides[dim.dim_param]
    return proto


def pixel_graph(image_graph: Any, reader: Reader, pixels: PixelType, tempering: Tempering | None) -> Any:
    """The same between the reader's scaling and the temperature: pixels, and depth if taken, in, probabilities out."""
    scaling = _translated(Scaling(reader, pixels), [example_pixels(reader, pixels)], [PIXELS], IMAGE, heights=[1])
    whole = _joined(_tempered(image_graph, tempering), IMAGE, "reader/", before=scaling)
    _name_sizes(whole.graph.input[0])
    return whole


def _tempered(image_graph: Any, tempering: Tempering | None) -> Any:
    """The graph with the temperature, if there is one, behind what is blendable."""
    onnx, _ = require_onnx()
    said = onnx.ValueInfoProto()
    said.CopyFrom(image_graph.graph.output[0])
    if tempering is None:
        whole = onnx.ModelProto()
        whole.CopyFrom(image_graph)
        whole.graph.node.append(onnx.helper.make_node("Identity", [BLENDABLE], [PROBABILITIES], PROBABILITIES))
        whole.graph.value_info.append(image_graph.graph.output[0])
    else:
        batch, height, width = EXAMPLE
        even = torch.full((batch, said.type.tensor_type.shape.dim[1].dim_value, height, width), 0.5)
        after = _translated(tempering, [even], [BLENDABLE], PROBABILITIES, heights=[2])
        whole = _joined(image_graph, BLENDABLE, "temperature/", after=after)
    said.name = PROBABILITIES
    whole.graph.output[0].CopyFrom(said)
    return whole


def _joined(model: Any, between: str, prefix: str, *, before: Any = None, after: Any = None) -> Any:
    """A model's graph with a small one before or after it, by the value ``between`` them.

    Names inside the small one get the prefix. Its sizes were named apart from those of the model's graph, and would be
    taken for the same ones, so that nothing of them is kept.
    """
    onnx, _ = require_onnx()
    small = onnx.compose.add_prefix(before or after, prefix, rename_inputs=False, rename_outputs=False)
    small.ir_version = model.ir_version
    del small.graph.value_info[:]
    value = next(value for value in (*model.graph.input, *model.graph.output) if value.name == between)
    (small.graph.output if before else small.graph.input)[0].CopyFrom(value)
    pair = (small, model) if before else (model, small)
    whole = onnx.compose.merge_models(*pair, [(between, between)], name="segkit", producer_name="segkit")
    if all(known.name != between for known in whole.graph.value_info):
        whole.graph.value_info.append(value)  # its type, for who enters or leaves the graph there
    versions = {entry.domain: entry.version for entry in whole.opset_import}
    del whole.opset_import[:]  # merging names some twice
    whole.opset_import.extend(onnx.helper.make_opsetid(domain, version) for domain, version in versions.items())
    return whole


def write_onnx(whole: Any, description: ExportDescription, path: Path) -> None:
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
