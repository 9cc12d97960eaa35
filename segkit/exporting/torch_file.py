"""A model as a program of ``torch.export``, for PyTorch without this toolkit."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from segkit.data.reader import Reader
from segkit.exporting.graph import Probabilities, Scaling, example_pixels, traced
from segkit.onnx_model import Description, PixelType

DESCRIPTION = "segkit.json"  # of the extra files that torch.export.load gives back


def pixel_program(probabilities: Probabilities, reader: Reader, pixels: PixelType) -> ExportedProgram:
    """The model behind the reader's scaling: pixels [B, H, W, C] in, probabilities out."""
    whole = nn.Sequential(Scaling(reader, pixels), probabilities).eval()
    return traced(whole, example_pixels(reader, pixels), height=1)


def write_program(program: ExportedProgram, description: Description, path: Path) -> None:
    """Write a program, with its description as the extra file ``segkit.json``."""
    torch.export.save(program, path, extra_files={DESCRIPTION: description.model_dump_json()})


def open_program(path: Path) -> Callable[[Tensor], Tensor]:
    """What a written program says of pixels [B, H, W, C]. Only for a file of one's own: loading one runs code in it."""
    module = torch.export.load(path).module()

    def probabilities(pixels: Tensor) -> Tensor:
        with torch.no_grad():
            found: Tensor = module(pixels)
        return found

    return probabilities
