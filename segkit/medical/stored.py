"""From the numbers that a file stores to the values of a volume, and what is refused before memory is taken for it."""

from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segkit.errors import DataError

KEPT = (np.dtype(np.uint8), np.dtype(np.int16), np.dtype(np.uint16))
"""Types that stay what they are; others become float32."""


def check_values(path: Path, shape: Sequence[int], stored: np.dtype[Any], limit: int) -> None:
    """Refuse (DataError) values that are no intensities, or take more than ``limit`` bytes, stored or given out."""
    if stored.kind not in "buif":
        kind = "complex numbers" if stored.kind == "c" else f"of type {stored}"
        raise DataError(f"{path}: its values are {kind}, not intensities; export the magnitude, or one map at a time")
    taken = prod(shape) * (stored.itemsize if stored in KEPT else max(stored.itemsize, 4))
    if taken > limit:
        raise DataError(
            f"{path}: {'×'.join(f'{length:,}' for length in shape)} values take {taken / 2**30:,.1f} GiB, more than "
            f"the limit of {limit / 2**30:,.1f} GiB; cut or resample it, or raise the limit (limit=BYTES, of "
            "segkit predict --limit GIB)"
        )


def check_file(path: Path) -> int:
    """The bytes of a file that is there and isn't empty; DataError otherwise."""
    try:
        size = path.stat().st_size
        with path.open("rb"):
            pass
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except OSError as error:
        raise DataError(f"{path}: can't be read ({error.strerror or error})") from error
    if size == 0:
        raise DataError(f"{path}: the file is empty; copy or export it again")
    return size


def cut_short(path: Path) -> DataError:
    """What is said of a file that ends before its voxels do, or whose checksum is wrong."""
    return DataError(f"{path}: the file is cut short, or damaged; copy or export it again")


def plain_values(stored: NDArray[Any], path: Path, slope: float = 1.0, intercept: float = 0.0) -> NDArray[Any]:
    """Return slope · stored + intercept, [I, J, K, C]: uint8, int16 and uint16 as they are, other numbers as float32.

    One bit becomes 0 and 255.

    Raises:
        DataError: values are NaN, or too large for float32.
    """
    if slope == 1 and intercept == 0:
        native = stored.dtype.newbyteorder("=")
        if native in KEPT:
            return stored.astype(native, copy=False)
        if native == np.bool_:
            return stored.astype(np.uint8) * np.uint8(255)
    values = np.empty_like(stored, dtype=np.float32)
    bad = 0
    with np.errstate(over="ignore", invalid="ignore"):
        for k in range(stored.shape[2]):  # slice by slice: 64 bits of the whole would be too much memory
            values[:, :, k] = np.multiply(stored[:, :, k], slope, dtype=np.float64) + intercept
            bad += values[:, :, k].size - int(np.isfinite(values[:, :, k]).sum())
    if bad:
        raise DataError(
            f"{path}: {bad:,} of {values.size:,} values are NaN, infinite or too large for 32 bits; replace them, for "
            "example by 0, and save it again"
        )
    return values
