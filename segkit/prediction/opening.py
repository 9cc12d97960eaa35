"""What is to be predicted, from whatever it is given as, at the resolution that a model wants."""

from pathlib import Path

import numpy as np

from segkit.data.listing import is_dicom, is_volume
from segkit.data.picture import Picture, checked_mpp, open_picture
from segkit.data.reader import Pixels, Reader
from segkit.data.volume import Volume
from segkit.errors import DataError, UsageError


def opened(path: Path, limit: int, reader: Reader, mpp: float | None) -> Picture | Volume:
    """A picture at the resolution that a reader wants, or a volume: by its suffix, its pages, or as DICOM its start.

    Raises:
        UsageError: ``mpp`` of a volume.
        DataError: a file that can't be used.
    """
    if is_volume(path) or is_dicom(path):
        if mpp is not None:
            raise UsageError(f"{path}: a volume, and mpp is of pictures; leave it out")
        from segkit.medical.reading import read_volume

        try:
            return read_volume(path, limit=limit)
        except DataError as error:
            if not path.is_dir() or any(map(is_dicom, path.rglob("*"))):
                raise
            raise DataError(f"{path}: a folder without DICOM; predict_files takes folders of pictures") from error
    return open_picture(path, limit=limit, mpp=reader.mpp, own=mpp)


def at_resolution(pixels: Pixels | Picture, reader: Reader, mpp: float | None) -> Pixels | Picture:
    """The same at the resolution that a reader wants; ``mpp``: what it has, whatever a picture's file says."""
    own = checked_mpp(mpp)
    if reader.mpp is None and own is None:
        return pixels
    if not isinstance(pixels, Picture):
        array = pixels[..., None] if pixels.ndim == 2 else pixels
        pixels = Picture(None, array)
    if own is not None:
        pixels = pixels.at(own)
    if reader.mpp is None:
        return pixels
    from segkit.medical.slide_resampling import brought_to

    return brought_to(pixels, reader.mpp)


def as_pixels(array: Pixels) -> Pixels:
    """The array itself, [H, W] or [H, W, C], uint8, uint16 or float; DataError where it is no image."""
    if not isinstance(array, np.ndarray) or array.ndim not in (2, 3) or not array.size:
        shape = list(array.shape) if isinstance(array, np.ndarray) else type(array).__name__
        raise DataError(f"got {shape}; expected a path, or an array [H, W] or [H, W, C]")
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    if array.dtype.kind != "f" and array.dtype not in (np.uint8, np.uint16):
        raise DataError(f"the array is {array.dtype}; expected uint8, uint16, or float in 0..1")
    return array
