"""The graph of an exported file: pixels in, probabilities out, for any batch, height and width."""

import copy
from collections.abc import Sequence
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.fx.experimental import _config as symbols

from segkit.data.reader import PERCENTILES, Reader
from segkit.ensemble import Ensemble
from segkit.exporting.traceable import make_traceable
from segkit.model import Segmenter
from segkit.onnx_model import PixelType
from segkit.prediction.prepared import prepared
from segkit.statistics import tempered
from segkit.task import Task

SMALLEST, LARGEST = 33, 1 << 16  # sides of an image; 33 is one pixel more than the coarsest usual stride
MOST = 1 << 12  # images at a time

EXAMPLE = (2, 421, 486)
"""Batch, height and width to trace with.

What is 1 anywhere in the trace is taken for a constant, so no window of a Swin may cover a whole level: 384 pixels at
stride 32 and window 12.
"""

DTYPES: dict[PixelType, torch.dtype] = {"uint8": torch.uint8, "uint16": torch.uint16, "float32": torch.float32}
FULL: dict[PixelType, float] = {"uint8": 255.0, "uint16": 65535.0, "float32": 1.0}


def in_graph(reader: Reader) -> Reader:
    """The reader of what a graph is given: where the window is a whole volume's, or a file's, values come scaled."""
    of_volume = reader.slices is not None and reader.window == "picture"
    return reader.model_copy(update={"window": None}) if of_volume or reader.window == "file" else reader


def pixel_type(reader: Reader) -> PixelType:
    """The smallest type that holds the reader's window: uint8 without one, and for each picture's own.

    >>> pixel_type(Reader(window=(0, 4095)))
    'uint16'
    """
    if in_graph(reader) != reader:
        return "float32"
    if not isinstance(reader.window, tuple):
        return "uint8"
    low, high = reader.window
    if low < 0 or high > FULL["uint16"] or low % 1 or high <= 1:  # fractions, or pixels that are some
        return "float32"
    return "uint8" if high <= FULL["uint8"] else "uint16"


class Scaling(nn.Module):
    """The reader's scaling, [B, H, W, C] → float32 [B, C, H, W] in 0..1.

    Each image of a batch has its own window where the reader says ``picture``. All its pixels are looked at then, where
    the reader takes every n-th of those above four million.
    """

    def __init__(self, reader: Reader, pixels: PixelType) -> None:
        super().__init__()
        self.window, self.full = in_graph(reader).window, FULL[pixels]

    def forward(self, pixels: Tensor) -> Tensor:
        """The scaled images of a batch of pixels."""
        image = pixels.permute(0, 3, 1, 2).float()
        if self.window is None:
            return image / self.full
        if isinstance(self.window, tuple):
            low, high = self.window
            return ((image - low) / (high - low)).clamp(0, 1)
        values = image.flatten(1)
        lowest, highest = self._percentile(values, largest=False), self._percentile(values, largest=True)
        highest = torch.where(highest > lowest, highest, lowest + 1)
        low_of_each, high_of_each = lowest[:, :, None, None], highest[:, :, None, None]
        return ((image - low_of_each) / (high_of_each - low_of_each)).clamp(0, 1)

    def _percentile(self, values: Tensor, *, largest: bool) -> Tensor:
        """The reader's lower or upper percentile of each row, [B, 1], between two values as NumPy takes it."""
        per_mille = round(10 * PERCENTILES[0])  # as far from the one end as the other percentile is from the other
        steps = (values.shape[1] - 1) * per_mille  # thousandths of a rank
        outermost = values.topk(steps // 1000 + 2, largest=largest).values
        near, far = outermost.narrow(1, steps // 1000, 1), outermost.narrow(1, steps // 1000 + 1, 1)
        return near + (far - near) * (steps % 1000 / 1000)


class Blendable(nn.Module):
    """Probabilities float32 [B, maps, H, W] of scaled images, of an ensemble its weighted mean before its temperature.

    A model with a second modality takes depth as :func:`segkit.data.depth.read_depth` gives it.
    """

    def __init__(self, model: Segmenter | Ensemble) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor, depth: Tensor | None = None) -> Tensor:
        """What the model says of images [B, C, H, W] in 0..1 with depth [B, H, W, C' + 1], validity last."""
        return self.model.probabilities(image, None if depth is None else depth.permute(0, 3, 1, 2))


class Tempering(nn.Module):
    """An ensemble's temperature, which comes after tiles and views are averaged, as in ``Predictor``."""

    def __init__(self, temperature: float, task: Task) -> None:
        super().__init__()
        self.temperature, self.task = temperature, task

    def forward(self, probabilities: Tensor) -> Tensor:
        """Probabilities [B, maps, H, W] at that temperature."""
        return tempered(probabilities, self.temperature, self.task)


class Probabilities(nn.Module):
    """What a model says in the end: ``Blendable``, then ``Tempering`` where there is a temperature."""

    def __init__(self, blendable: Blendable, tempering: Tempering | None) -> None:
        super().__init__()
        self.blendable, self.tempering = blendable, tempering

    def forward(self, image: Tensor, depth: Tensor | None = None) -> Tensor:
        """Probabilities float32 [B, maps, H, W] of images [B, C, H, W] in 0..1 with depth [B, H, W, C' + 1]."""
        found: Tensor = self.blendable(image, depth)
        return found if self.tempering is None else self.tempering(found)


class WithDepth(nn.Module):
    """Pixels [B, H, W, C] and depth [B, H, W, C' + 1] → probabilities."""

    def __init__(self, scaling: Scaling, probabilities: Probabilities) -> None:
        super().__init__()
        self.scaling, self.probabilities = scaling, probabilities

    def forward(self, pixels: Tensor, depth: Tensor) -> Tensor:
        """What the model says of a batch of pixels and their depth."""
        found: Tensor = self.probabilities(self.scaling(pixels), depth)
        return found


def in_float32(model: Segmenter | Ensemble) -> Probabilities:
    """A copy of the model for export, on the CPU, its BatchNorm folded into the convolutions."""
    probe = torch.zeros(1, model.reader.inputs, SMALLEST, SMALLEST)
    probe[:, model.reader.channels :] = 1  # a depth backbone is asked only where something was measured
    own, temperature = copy.deepcopy(model).to("cpu").eval(), getattr(model, "temperature", 1.0)
    if isinstance(own, Ensemble):
        own.temperature = 1.0
    ready = prepared(own, lambda ready: ready.probabilities(probe), None)
    make_traceable(ready)
    tempering = Tempering(temperature, model.task) if temperature != 1 else None
    return Probabilities(Blendable(ready), tempering).eval()


def traced(module: nn.Module, examples: Sequence[Tensor], *, heights: Sequence[int]) -> ExportedProgram:
    """The module's program for any batch up to 4096, and sides from 33 to 65536.

    Args:
        module: takes these tensors.
        examples: of the size of ``EXAMPLE``; all have the same batch and sides whenever the program runs.
        heights: of each the dimension that is the height; the width is the next.
    """
    batch = Dim("batch", min=1, max=MOST)
    sides = (Dim("height", min=SMALLEST, max=LARGEST), Dim("width", min=SMALLEST, max=LARGEST))
    shapes = tuple({0: batch, height: sides[0], height + 1: sides[1]} for height in heights)
    # What can't be proven for all sizes is checked when the program runs.
    with torch.no_grad(), open_sizes():
        return torch.export.export(
            module, tuple(examples), dynamic_shapes=shapes, prefer_deferred_runtime_asserts_over_guards=True
        )


def open_sizes() -> AbstractContextManager[object]:
    """While tracing in this: PyTorch doesn't decide by the example's size how memory may be laid out.

    Otherwise it does, and then refuses other sizes.
    """
    found: AbstractContextManager[object] = symbols.patch(backed_size_oblivious=True)  # type: ignore[attr-defined]  # added at run time
    return found


def example_pixels(reader: Reader, pixels: PixelType) -> Tensor:
    """Zeros to trace with, [B, H, W, C]."""
    return torch.zeros(*EXAMPLE, reader.channels).to(DTYPES[pixels])


def example_image(reader: Reader) -> Tensor:
    """Zeros to trace with, float32 [B, C, H, W]."""
    batch, height, width = EXAMPLE
    return torch.zeros(batch, reader.channels, height, width)


def example_depth(reader: Reader) -> list[Tensor]:
    """Zeros to trace with, float32 [B, H, W, C' + 1]; none where the model takes images alone."""
    return [torch.zeros(*EXAMPLE, reader.depth_channels + 1)] if reader.depth_channels else []
