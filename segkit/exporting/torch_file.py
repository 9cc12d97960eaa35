"""A model as a program of ``torch.export``, for PyTorch without this toolkit."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from segkit.data.reader import Reader
from segkit.exporting.graph import Probabilities, Scaling, WithDepth, example_depth, example_pixels, traced
from segkit.onnx_model import ExportDescription, PixelType

DESCRIPTION = "segkit.json"  # of the extra files that torch.export.load gives back


def pixel_program(probabilities: Probabilities, reader: Reader, pixels: PixelType) -> ExportedProgram:
    """The model behind the reader's scaling: pixels [B, H, W, C], and depth if it is taken, in, probabilities out."""
    scaling = Scaling(reader, pixels)
    whole = WithDepth(scaling, probabilities) if reader.depth_channels else nn.Sequential(scaling, probabilities)
    given = [example_pixels(reader, pixels), *example_depth(reader)]
    return traced(whole.eval(), given, heights=[1] * len(given))


def write_program(program: ExportedProgram, description: ExportDescription, path: Path) -> None:
    """Write a program, with its description as the extra file ``segkit.json``."""
    torch.export.save(program, path, extra_files={DESCRIPTION: description.model_dump_json()})


def open_program(path: Path) -> Callable[..., Tensor]:
    """What a written program says of pixels [B, H, W, C], and depth [B, H, W, C' + 1] if it takes it.

    Only for a file of one's own: loading one runs code in it.
    """
    module = torch.export.load(path).module()

    def probabilities(*given: Tensor) -> Tensor:
        with torch.no_grad():
            found: Tensor = module(*given)
        return found

    return probabilities
