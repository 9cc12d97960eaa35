"""An array's file, ``.npy``, written by rows as they come."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

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
