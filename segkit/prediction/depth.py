"""The second modality of an image to predict: read, checked against the image, and put behind its rows."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segkit.data.depth import Depth, measured_depth, read_depth, zoomed_depth
from segkit.data.depth_format import DepthFormat
from segkit.data.reader import Reader
from segkit.data.resize import within_range
from segkit.errors import DataError, UsageError

Rows = Callable[[int, int], NDArray[np.float32]]


@dataclass(frozen=True, eq=False)
class Measured:
    """A second modality that has been read already: values and validity, float32 [H, W, C + 1]."""

    depth: Depth


Given = str | Path | NDArray[np.generic] | Measured
"""A file, values [H, W] or [H, W, C] as a file would hold them, or what has been read already."""


def depth_of(
    given: Given | None, reader: Reader, size: tuple[int, int], name: str, depth_format: DepthFormat | None, limit: int
) -> Depth | None:
    """The second modality of an image of that size, float32 [H, W, C + 1]; None where there is none.

    Args:
        given: see ``Given``.
        reader: the model's.
        size: (height, width) of the image.
        name: the image's, for errors.
        depth_format: what values mean; None: what they meant in training.
        limit: bytes that may be decoded at once.

    Raises:
        UsageError: the model takes images alone, or values of another kind than the format says.
        DataError: a file can't be read, or isn't of the image's size or the model's number of channels.
    """
    if given is None:
        return None
    if not reader.depth_channels or reader.depth is None:
        raise UsageError("depth: this model takes images alone; leave it out, or train a model with model.depth")
    meaning = depth_format or reader.depth
    if meaning.metric != reader.metric:
        kind = "metres" if reader.metric else "values in no unit"
        raise UsageError(f"depth in {meaning.unit}: this model was trained on {kind}")
    if isinstance(given, Measured):
        depth = given.depth
    elif isinstance(given, str | Path):
        depth = read_depth(given, meaning, limit=limit)
    else:
        depth = measured_depth(np.asarray(given), meaning, f"depth of {name}")
    what = given if isinstance(given, str | Path) else f"depth of {name}"
    if depth.shape[:2] != size:
        (height, width), (theirs_h, theirs_w) = size, depth.shape[:2]
        raise DataError(f"{what}: {theirs_w}×{theirs_h}, its picture {width}×{height} (width × height)")
    if depth.shape[2] != reader.depth_channels + 1:
        raise DataError(f"{what}: {depth.shape[2] - 1} channels; the model takes {reader.depth_channels}")
    return depth


def rows_with(rows: Rows, depth: Depth | None, reader: Reader, width: int) -> Rows:
    """Rows of the image with those of its second modality behind, [h, W, reader.inputs]; zeros where it has none."""
    if not reader.depth_channels:
        return rows

    def joined(top: int, bottom: int) -> NDArray[np.float32]:
        absent = np.zeros((bottom - top, width, reader.depth_channels + 1), np.float32)
        return np.concatenate([rows(top, bottom), absent if depth is None else depth[top:bottom]], axis=2)

    return joined


def zoomed(tiles: Tensor, size: tuple[int, int], reader: Reader) -> Tensor:
    """Tiles [B, reader.inputs, h, w] brought to a size, the second modality by its own rules."""
    image, depth = reader.apart(tiles, None)
    image = within_range(image, size)
    return image if depth is None else torch.cat([image, zoomed_depth(depth, size, reader.metric)], dim=1)
