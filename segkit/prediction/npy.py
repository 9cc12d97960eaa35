"""An array's file, ``.npy``, written by rows as they come."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from segkit.files import atomic_path


class NpyRows:
    """Writes an array [..., H, W] into an open file, some rows at a time.

    Written, not mapped: pages of a map count as the process's memory, and a full disk would end the process there,
    where a write says that there is no room.
    """

    def __init__(self, file: BinaryIO, dtype: type[np.generic], shape: tuple[int, ...]) -> None:
        self._file, self._dtype, self._shape = file, np.dtype(dtype), shape
        np.lib.format.write_array_header_2_0(
            file, {"descr": np.lib.format.dtype_to_descr(self._dtype), "fortran_order": False, "shape": shape}
        )
        self._begin = file.tell()
        file.truncate(self._begin + int(np.prod(shape, dtype=np.int64)) * self._dtype.itemsize)

    def write(self, top: int, rows: NDArray[np.generic]) -> None:
        """Put ``rows`` [..., h, W] below the first ``top`` rows."""
        height, width = self._shape[-2:]
        maps = np.ascontiguousarray(rows, self._dtype).reshape(-1, *rows.shape[-2:])
        for number, part in enumerate(maps):
            self._file.seek(self._begin + (number * height + top) * width * self._dtype.itemsize)
            self._file.write(part.data)


@contextmanager
def npy_rows(path: Path, dtype: type[np.generic], shape: tuple[int, ...]) -> Iterator[NpyRows]:
    """A file that has its final name once the block ends well; what the block leaves out is zero."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        yield NpyRows(file, dtype, shape)


def as_file(path: Path, values: NDArray[Any]) -> NDArray[Any]:
    """The array as a read-only memory map of a new file."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.save(file, values)
    found: NDArray[Any] = np.load(path, mmap_mode="r")
    return found


def npy_of(rows: Iterable[NDArray[np.uint8]], shape: tuple[int, ...], *, path: Path) -> NDArray[np.uint8]:
    """A read-only memory map of a new file of an array [..., H, W] that comes by rows [..., h, W], from the top down.

    Where ``path`` is there already, maps of it stay what they were, so that rows may be made of it.
    """
    top = 0
    with npy_rows(path, np.uint8, shape) as file:
        for strip in rows:
            file.write(top, strip)
            top += strip.shape[-2]
    return replaceable(np.load(path, mmap_mode="r"))


def replaceable(mapped: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """An array whose file may be written anew: Windows refuses while it is mapped, so that there it is in memory."""
    return np.array(mapped) if os.name == "nt" else mapped
