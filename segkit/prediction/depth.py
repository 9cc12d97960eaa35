"""The second modality of an image to predict: read, checked against the image, and put behind its rows."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from segkit.data.depth import Depth, measured_depth, read_depth, zoomed_depth
from segkit.data.depth_encoding import NEAREST, DepthEncoding
from segkit.data.depth_format import DepthFormat
from segkit.data.reader import Reader
from segkit.data.resize import within_range
from segkit.data.turned import depth_on
from segkit.errors import DataError, UsageError
from segkit.prediction.protocol import Model

UNLIKE = 5.0  # standard deviations of what was learnt from, off its mean: so far no picture's median is by chance
LOOKED_AT = 4  # of so many rows and columns one, for a median

Rows = Callable[[int, int], NDArray[np.float32]]


@dataclass(frozen=True, eq=False)
class Measured:
    """A second modality that has been read already: values and validity, float32 [H, W, C + 1]."""

    depth: Depth


Given = str | Path | NDArray[np.generic] | Measured
"""A file, values [H, W] or [H, W, C] as a file would hold them (masked: not measured), or what has been read."""


def depth_of(
    given: Given | None,
    reader: Reader,
    size: tuple[int, int],
    image: Path | None,
    depth_format: DepthFormat | None,
    limit: int,
) -> Depth | None:
    """The second modality of an image of that size, float32 [H, W, C + 1]; None where there is none.

    Args:
        given: see ``Given``. On the stored pixels of an image that its EXIF tag turns by 90° it is turned with it.
        reader: the model's.
        size: (height, width) of the image.
        image: its file; None of pixels.
        depth_format: what values mean; None: what they meant in training.
        limit: bytes that may be decoded at once.

    Raises:
        UsageError: the model takes images alone, or values of another kind than the format says.
        DataError: a file can't be read, or isn't of the image's size or the model's number of channels.
    """
    if given is None:
        if depth_format is not None:
            raise UsageError("depth_format: says what the values of depth mean; give depth too")
        return None
    if not reader.depth_channels or reader.depth is None:
        raise UsageError("depth: this model takes images alone; leave it out, or train a model with model.depth")
    meaning = depth_format or reader.depth
    check_meaning(meaning, reader)
    what = given if isinstance(given, str | Path) else f"depth of {image or 'image'}"
    if isinstance(given, Measured):
        depth = given.depth
    elif isinstance(given, str | Path):
        depth = read_depth(given, meaning, limit=limit)
    else:
        values = np.asarray(given)
        if values.dtype.kind not in "iuf" or values.ndim not in (2, 3):
            kind = f"{values.dtype} {list(values.shape)}"
            raise DataError(f"{what}: an array {kind}; expected integers or floats, [H, W] or [H, W, C]")
        if isinstance(given, np.ma.MaskedArray):
            values = np.where(np.ma.getmaskarray(given), np.nan, values)
        depth = measured_depth(values, meaning, what)
    found = depth_on(depth, size, image)
    if found is None:
        (height, width), (theirs_h, theirs_w) = size, depth.shape[:2]
        raise DataError(
            f"{what}: depth is {theirs_w}×{theirs_h}, its picture {width}×{height} (width × height); export it pixel "
            "for pixel"
        )
    if found.shape[2] != reader.depth_channels + 1:
        raise DataError(f"{what}: {found.shape[2] - 1} channels; the model takes {reader.depth_channels}")
    return found


def check_meaning(meaning: object, reader: Reader) -> None:
    """Raise UsageError where values mean another kind of thing than those that a model has learnt from."""
    if not isinstance(meaning, DepthFormat):
        raise UsageError(
            f"depth_format={meaning!r}: expected a segkit.data.depth_format.DepthFormat, such as DepthFormat(unit='mm')"
        )
    if meaning.metric != reader.metric:
        kind, unit = ("metres", "m, mm or the like") if reader.metric else ("values in no unit", "relative")
        raise UsageError(f"depth in {meaning.unit}: this model was trained on {kind}; say {unit}, or nothing")


def notes_on_alignment(model: Model) -> tuple[str, ...]:
    """What a user should know of depth as files hold it where the model, or a member, was trained on another kind."""
    parts = model.modules() if isinstance(model, nn.Module) else (model,)
    if not any("depth" in getattr(part, "about", {}).get("trained_on", {}) for part in parts):
        return ()
    return ("in training depth was brought onto the pictures; here it is taken to lie on them already",)


def notes_on(depth: Depth, encodings: Iterable[tuple[DepthEncoding, tuple[int, int] | None]]) -> tuple[str, ...]:
    """What a user should know of an image's depth: it holds nothing, or nothing like what the model has learnt from.

    Args:
        depth: of the image.
        encodings: see :attr:`segkit.prediction.predictor.Predictor.encodings`.
    """
    values = depth[::LOOKED_AT, ::LOOKED_AT]
    found = values[values[..., -1] > 0][:, :-1]
    if not depth[..., -1].any():
        return ("in depth nothing is measured, and so it counts as none",)
    for encoding, size in encodings:
        if encoding.per_picture or not encoding.standardised or not len(found):
            continue
        mean, std = (tensor.flatten().cpu().numpy() for tensor in (encoding.mean, encoding.std))
        seen = found
        if size is not None:  # metres, which are divided by the zoom
            seen = found / np.sqrt(size[0] / depth.shape[0] * size[1] / depth.shape[1])
        given = 1 / np.maximum(seen, NEAREST) if encoding.kind == "inverse" else seen
        middle = np.median(given, axis=0)
        if (np.abs(middle - mean) / std > UNLIKE).any():
            learnt, here = (", ".join(f"{value:.3g}" for value in each) for each in (mean, middle))
            unit = {"inverse": " / m", "plain": ""}.get(encoding.kind, " m")
            return (f"depth is unlike what was learnt from, {here}{unit} in the middle, not {learnt}{unit}; its unit?",)
    return ()


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
