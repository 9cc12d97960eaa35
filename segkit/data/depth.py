"""Depth, or any second modality, from files: metres or values as they are, and a last channel that says where."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from segkit.data.claims import LIMIT, Claim, check_claim
from segkit.data.depth_format import DepthFormat, values_per_metre
from segkit.data.reader import read_pixels
from segkit.data.suffixes import TIFF
from segkit.errors import DataError
from segkit.one_line import one_line

if TYPE_CHECKING:
    from torch import Tensor

Depth = NDArray[np.float32]
"""[H, W, C + 1]: C channels of values, 0 where not measured; last 1 where measured, 0 where not."""

DEPTHS = (".png", *TIFF, ".npy")
"""Suffixes of the files read as depth."""

FARTHEST = 1e5
"""Metres; what is farther is no distance but a renderer's sky, or a value of another unit."""


def read_depth(path: str | Path, depth_format: DepthFormat, *, limit: int = LIMIT) -> Depth:
    """Return a file's depth as float32 [H, W, C + 1]: metres (C = 1) or values as they are, and last the validity.

    A file in mm, in 0.1 mm, or in m as float32 or float64 gives the same bits: each is the float32 nearest to the
    quotient. (Metres that were rounded to anything else before, such as float16, keep that rounding.)

    Args:
        path: a PNG or TIFF file of any type, or an NPY file of integers or floats, [H, W] or [H, W, C]. Values lie as
            stored: an orientation tag is not applied.
        depth_format: what the values mean.
        limit: bytes that the file and its values may take.

    Raises:
        DataError: the file can't be read, or holds several channels where depth in metres has one.
    """
    path = Path(path)
    return measured_depth(stored_values(path, limit=limit), depth_format, path)


def measured_depth(values: NDArray[Any], depth_format: DepthFormat, name: str | Path = "depth") -> Depth:
    """Return float32 [H, W, C + 1] from values [H, W] or [H, W, C] as a file holds them, integers or floats.

    Raises:
        DataError: several channels where depth in metres has one; ``name`` is what the message begins with.
    """
    values = values[..., None] if values.ndim == 2 else values
    channels = values.shape[2]
    if depth_format.metric and channels != 1:
        raise DataError(
            f"{name}: {channels} channels; depth in {depth_format.unit} has one: export the map itself, not a picture "
            "of it, or say 'depth_unit: relative' of what is no depth"
        )
    measured = np.asarray(~_is_invalid(values, depth_format.invalid).all(axis=2))
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        # In float64: after one more rounding, to float32, quotients of float32 numbers are still the nearest ones.
        if per_metre := values_per_metre(depth_format.unit):
            found = values.astype(np.float64) / per_metre
        elif depth_format.focal_baseline is not None:
            found = depth_format.focal_baseline / values.astype(np.float64)
        else:
            found = values
        found = found.astype(np.float32)
    measured &= np.isfinite(found).all(axis=2)
    if depth_format.metric:
        measured &= (found[..., 0] > 0) & (found[..., 0] < FARTHEST)
    depth = np.zeros((*measured.shape, channels + 1), dtype=np.float32)
    np.copyto(depth[..., :-1], found, where=measured[..., None])
    depth[..., -1] = measured
    return depth


def stored_values(path: Path, *, limit: int = LIMIT) -> NDArray[Any]:
    """Return a depth file's values [H, W, C], integers or floats, as stored, NaN and infinity among them.

    Raises:
        DataError: the file can't be read, or holds no map of numbers.
    """
    if path.suffix.lower() == ".npy":
        return _read_npy(path, limit)
    return read_pixels(path, upright=False, limit=limit, finite=False)


def resized_depth(depth: Depth, size: tuple[int, int], *, metric: bool) -> Depth:
    """Depth [H, W, C + 1] of another size, as :func:`zoomed_depth` makes it; the same array where it has it already."""
    if depth.shape[:2] == size:
        return depth
    import torch  # only where sizes change: to look through a folder takes none of it

    planes = torch.from_numpy(np.ascontiguousarray(depth.transpose(2, 0, 1)))[None]
    return np.ascontiguousarray(zoomed_depth(planes, size, metric)[0].permute(1, 2, 0).numpy())


def zoomed_depth(depth: "Tensor", size: tuple[int, int], metric: bool) -> "Tensor":
    """Depth [B, C + 1, H, W] zoomed with its picture, [B, C + 1, *size], where holes don't blend into what is around.

    A cell is measured where at least half of what it covers is, and holds the mean of what is measured there by the
    share that it covers. Enlarged to a multiple of its size, depth so repeats its values.

    Args:
        depth: values and, last, validity 0 or 1.
        size: height and width.
        metric: values are metres. A picture zoomed by s looks like one taken from 1/s of the distance, so they are
            divided by s, the geometric mean of both sides' factors.
    """
    height, width = depth.shape[-2:]
    if (height, width) == tuple(size):
        return depth
    measured = depth[:, -1:].float()
    values = depth[:, :-1].float().where(measured > 0, 0)  # which may be no number where nothing is measured
    for axis, side in ((2, size[0]), (3, size[1])):
        values, measured = _averaged(values, axis, side), _averaged(measured, axis, side)
    valid = measured >= 0.5 - 1e-5  # half, whatever the rounding
    values = (values / measured.clamp(min=0.25)).where(valid, 0)
    if metric:
        values = values / float(np.sqrt(size[0] / height * size[1] / width))
    return _joined(values, valid).to(depth.dtype)


def _averaged(maps: "Tensor", axis: int, cells: int) -> "Tensor":
    """Means of maps over equal cells along an axis, each pixel by the share of the cell that it fills."""
    import torch

    side = maps.shape[axis]
    # In units of 1/cells of a pixel, so that all ends are whole numbers.
    cell = torch.arange(cells)
    start, end = cell * side, (cell + 1) * side
    first = start // cells
    covered = int((-(-end // cells) - first).max())
    shape = [-1 if other == axis else 1 for other in range(maps.ndim)]
    total = torch.zeros(())
    for step in range(covered):
        pixel = first + step
        overlap = torch.minimum(end, (pixel + 1) * cells) - torch.maximum(start, pixel * cells)
        share = (overlap.clamp(min=0).double() / side).to(maps).view(shape)
        total = total + maps.index_select(axis, pixel.clamp(max=side - 1).to(maps.device)) * share
    return total


def _joined(values: "Tensor", valid: "Tensor") -> "Tensor":
    import torch

    return torch.cat([values, valid.to(values)], dim=1)


def _is_invalid(values: NDArray[Any], invalid: tuple[float, ...]) -> NDArray[np.bool_]:
    """Where values are one of those that mean "not measured", each as the file's own type would hold it."""
    found = np.zeros(values.shape, dtype=bool)
    with np.errstate(over="ignore"):  # 65535 in float16 is infinity, which never counts as measured
        for value in invalid:
            found |= values == (values.dtype.type(value) if values.dtype.kind == "f" else value)
    return found


def _read_npy(path: Path, limit: int) -> NDArray[Any]:
    try:
        # A map of the file: its header is read, no pickle is ever loaded, and memory is taken once it is allowed.
        stored = np.lib.format.open_memmap(path, mode="r")
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except Exception as error:  # as with pictures, what a damaged header leads to is anyone's guess
        if path.stat().st_size == 0:
            raise DataError(f"{path}: the file is empty; copy or export it again") from None
        if "mmap length" in str(error):
            raise DataError(f"{path}: the file is cut short; copy or export it again") from None
        raise DataError(f"{path}: can't be read as an array ({one_line(error)})") from error
    if stored.dtype.kind not in "iuf":
        raise DataError(f"{path}: values of type {stored.dtype} are no depth; save integers or floats")
    if stored.ndim not in (2, 3) or 0 in stored.shape:
        shape = "×".join(map(str, stored.shape)) or "a single number"
        raise DataError(f"{path}: an array of {shape}; expected height × width, or height × width × channels")
    check_claim(Claim(stored.shape[0], stored.shape[1], stored.nbytes), path.stat().st_size, path, limit)
    values = np.array(stored, dtype=stored.dtype.newbyteorder("="), order="C")
    return values[..., None] if values.ndim == 2 else values
