"""Whether an exported file says what the model says: the largest difference of any probability."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from segkit.data.depth_encoding import DepthEncoding
from segkit.data.reader import Reader
from segkit.ensemble import Ensemble
from segkit.errors import ModelError
from segkit.exporting.graph import FULL, in_graph
from segkit.model import Segmenter
from segkit.one_line import one_line
from segkit.onnx_model import Agreement, PixelType
from segkit.prediction.evaluating import evaluating

SIZES = ((1, 33, 33), (2, 64, 96), (1, 97, 513), (2, 130, 75), (1, 300, 301))
"""Batch, height and width of the pictures tried."""

HOLE = 16  # pixels along a side of a hole in random depth: more than a cell of the finer levels

BOUND = 1e-4  # of a probability; rounding in another order makes 1e-6 to 1e-5


def agreement(model: Segmenter | Ensemble, exported: Callable[..., Tensor], pixels: PixelType) -> Agreement:
    """How far the exported file is from the model in float32, on random pictures of five sizes.

    A model with a second modality is asked with random depth, holes in it, and in each batch of two without any in the
    second picture.

    Args:
        model: on the CPU.
        exported: what the file says, pixels [B, H, W, C] → [B, maps, H, W], or pixels and depth [B, H, W, C' + 1] →.
        pixels: type of the pixels.

    Raises:
        ModelError: the file fails at a size, or gives another number of probabilities.
    """
    largest = 0.0
    device = next(model.parameters()).device
    for number, (batch, height, width) in enumerate(SIZES):
        given = random_pixels(model.reader, pixels, (batch, height, width), seed=number)
        image = torch.stack([scaled(in_graph(model.reader), picture) for picture in given])
        depth = [random_depth(model, (batch, height, width), seed=number)] if model.reader.depth_channels else []
        planes = [values.permute(0, 3, 1, 2).to(device) for values in depth]
        with evaluating(model), torch.no_grad():
            expected = model.probabilities(image.to(device), *planes).cpu()
        try:
            found = exported(given, *depth)
        except Exception as error:  # whatever the runtime says of a graph that isn't one for every size
            raise ModelError(
                f"the exported file fails on a batch of {batch}, {height} × {width} pixels: not written. The runtime "
                f"says: {one_line(error)}"
            ) from error
        if found.shape != expected.shape:
            raise ModelError(
                f"the exported file gives {list(found.shape)}, the model {list(expected.shape)}: not written"
            )
        difference = float((found - expected).abs().max())
        largest = difference if not difference <= largest else largest  # NaN is the largest of all
    return Agreement(sizes=list(SIZES), difference=largest)


def check_agreement(found: Agreement) -> None:
    """Raise ModelError, with the figure, where the exported file is too far from the model."""
    if not found.difference <= BOUND:
        raise ModelError(
            f"the exported file differs from the model by up to {found.difference:.2g} in a probability, more than "
            f"{BOUND:g}: not written. Please tell us which parts the model has"
        )


def scaled(reader: Reader, pixels: Tensor) -> Tensor:
    """An image float32 [C, H, W] in 0..1 as the reader makes it of pixels [H, W, C]."""
    return torch.from_numpy(reader.scale(pixels.numpy())).permute(2, 0, 1)


def random_pixels(reader: Reader, pixels: PixelType, size: tuple[int, int, int], *, seed: int) -> Tensor:
    """Pictures [B, H, W, C] of that type, all values of the reader's window equally likely."""
    low, high = reader.window if isinstance(reader.window, tuple) else (0.0, FULL[pixels])
    batch, height, width = size
    drawn = torch.rand(batch, height, width, reader.channels, generator=torch.Generator().manual_seed(seed))
    values = low + drawn * (high - low)
    if pixels == "float32":
        return values
    return values.round().clamp(0, FULL[pixels]).to(torch.uint8 if pixels == "uint8" else torch.uint16)


def random_depth(model: Segmenter | Ensemble, size: tuple[int, int, int], *, seed: int) -> Tensor:
    """Depth [B, H, W, C + 1] as files give it: 0.5 to 10 metres, or values that the encoding makes ordinary.

    A third of it are holes, of 16² pixels and of single ones, and of several pictures the last one has nothing else.
    """
    batch, height, width = size
    drawn = torch.Generator().manual_seed(seed)
    coarse = torch.rand(batch, 1, -(-height // HOLE), -(-width // HOLE), generator=drawn)
    holes = F.interpolate(coarse, scale_factor=HOLE)[:, 0, :height, :width] < 0.25
    measured = (torch.rand(size, generator=drawn) > 0.1) & ~holes
    if batch > 1:
        measured[-1] = False
    if model.reader.metric:
        values = 0.5 + 9.5 * torch.rand(*size, 1, generator=drawn)
    else:
        encoding = next(part for part in model.modules() if isinstance(part, DepthEncoding))
        mean, std = encoding.mean.flatten().cpu(), encoding.std.flatten().cpu()
        values = mean + std * torch.randn(*size, model.reader.depth_channels, generator=drawn)
    return torch.cat([values, torch.ones(*size, 1)], dim=3) * measured[..., None]
