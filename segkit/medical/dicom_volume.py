"""A DICOM series as a volume: its images' values in the units of the modality, on its grid."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread

from segkit.data.claims import LIMIT
from segkit.data.volume import Volume
from segkit.errors import DataError
from segkit.medical.dicom_frames import Frame
from segkit.medical.dicom_pixels import PALETTE, stored_frames
from segkit.medical.dicom_series import Series
from segkit.medical.dicom_tags import count_of, quiet, text_of
from segkit.medical.dicom_values import Meaning, is_negative, meaning_of, stacked
from segkit.medical.stored import check_values

PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
TEXT = "names or dates may be burned into its pixels: look at them before you give them to others"
POSITIVE = "its greys are turned round (MONOCHROME1), so that bright means dense"
QUANTITY = "it asks to be shown turned round (MONOCHROME1); its values stay as they were measured"


@dataclass(frozen=True, eq=False)
class Image:
    """What is read of one slice.

    Attributes:
        values: [rows, columns, C].
        padding: where they are none, [rows, columns, C]; None where they all are.
        meaning: how they came from what is stored.
    """

    values: NDArray[Any]
    padding: NDArray[np.bool_] | None
    meaning: Meaning


def read_series(series: Series, *, limit: int = LIMIT) -> Volume:
    """Return a series' values [columns, rows, slices, C] on its grid; C is 3 for colours, else 1.

    Values are rescaled (Hounsfield units of CT); whole ones stay uint8, int16 or uint16, others become float32. Pixels
    that the file calls padding get the lowest value of the others. ``Volume.origin`` is the tuple of the files' data
    sets without pixels in the order of K; of one file with many frames, its one. Of files that hold frames of other
    volumes too, it is the tuple of the :class:`~segkit.medical.dicom_frames.Frame` of each slice.

    Args:
        series: from :func:`~segkit.medical.dicom_series.find_series`.
        limit: bytes that the values may take.

    Raises:
        DataError: the series is refused, its pixels are damaged, compressed in a way that isn't read here, or take more
            than the limit.
    """
    quiet()
    if series.refused is not None or series.geometry is None:
        raise DataError(series.refused or f"{series.path}: no grid")
    _check_limit(series, limit)
    images, datasets = _read(series)
    values = stacked([image.values for image in images])
    check_values(series.path, values.shape, values.dtype, limit)
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise DataError(f"{series.path}: holds values that are not finite (NaN or infinity)")
    remarks = [*series.notes, *_remarks(series), *_fill(values, [image.padding for image in images])]
    return Volume(
        name=series.name,
        values=values.transpose(2, 1, 0, 3),  # [K, rows, columns, C] → [I, J, K, C]
        geometry=series.geometry,
        path=series.path,
        files=series.files,
        located=series.located,
        spaced=series.spaced,
        voi=images[len(images) // 2].meaning.window,
        origin=_origin(series, datasets),
        notes=tuple(remarks),
    )


def _check_limit(series: Series, limit: int) -> None:
    """Refuse (DataError) by the headers alone what would take more than the limit."""
    first = series.slices[0]
    tags, path = first.header.tags, first.path
    columns, rows, samples = first.size
    if text_of(tags, "PhotometricInterpretation", path) == PALETTE:
        samples = 3
    stored = np.dtype(f"u{_bytes(count_of(tags, 'BitsAllocated', path), path)}")
    check_values(series.path, (columns, rows, len(series.slices), samples), stored, limit)


def _bytes(bits: int, path: Path) -> int:
    if bits not in (1, 8, 16, 32, 64):
        raise DataError(f"{path}: BitsAllocated is {bits}; 1, 8, 16, 32 or 64 are read here: export the file again")
    return ceil(bits / 8)


def _read(series: Series) -> tuple[list[Image], dict[Path, Dataset]]:
    """The images in the order of K, and the data sets of the files without pixels; file by file."""
    here: dict[Path, list[int]] = defaultdict(list)
    for k, each in enumerate(series.slices):
        here[each.path].append(k)
    images: dict[int, Image] = {}
    datasets = {}
    for path, numbers in here.items():
        dataset = _dataset(path)
        numbers.sort(key=lambda k: series.slices[k].frame or 0)
        frames = [series.slices[k].frame or 0 for k in numbers]
        every = len(frames) == series.slices[numbers[0]].header.frames
        for k, stored in zip(numbers, stored_frames(dataset, path, None if every else frames), strict=False):
            columns, rows, _ = series.slices[k].size
            if stored.shape[:2] != (rows, columns):
                raise DataError(f"{path}: its pixels aren't {rows} × {columns} as its tags say; export the file again")
            meaning = meaning_of(dataset, series.slices[k])
            images[k] = Image(meaning.values(stored), meaning.is_padding(stored), meaning)
        if not images.keys() >= set(numbers):
            raise DataError(f"{path}: it holds fewer images than NumberOfFrames says; copy or export it again")
        for keyword in PIXELS:
            dataset.pop(keyword, None)
        datasets[path] = dataset
    return [images[k] for k in range(len(images))], datasets


def _dataset(path: Path) -> Dataset:
    try:
        return dcmread(path, force=True)
    except OSError as error:
        raise DataError(f"{path}: can't be read ({error.strerror or 'damaged'})") from error
    except Exception as error:  # pydicom raises what it likes, and may quote a patient's tags
        raise DataError(f"{path}: can't be read as DICOM; copy or export it again") from error


def _origin(series: Series, datasets: Mapping[Path, Dataset]) -> tuple[Dataset, ...] | tuple[Frame, ...]:
    """The data sets of whole files; where a file has frames of other volumes too, those of this one."""
    headers = {each.path: each.header for each in series.slices}
    if sum(header.frames for header in headers.values()) == len(series.slices):
        return tuple(datasets[path] for path in series.files)
    return tuple(Frame(datasets[each.path], (each.frame or 0) + 1, each.frame is not None) for each in series.slices)


def _remarks(series: Series) -> list[str]:
    """What a user should know of the way in which values came about."""
    kinds = {text_of(each.header.tags, "PhotometricInterpretation", each.path) for each in series.slices}
    remarks = []
    if "MONOCHROME1" in kinds:
        remarks.append(POSITIVE if is_negative(series.slices[0]) else QUANTITY)
    if series.burned_in:
        remarks.append(TEXT)
    return remarks


def _fill(values: NDArray[Any], padding: list[NDArray[np.bool_] | None]) -> list[str]:
    """Give padding that is below or above all other values the lowest of these, in place, and say how much there was.

    Padding among the others can't be told from them, and needn't be.
    """
    count = sum(int(where.sum()) for where in padding if where is not None)
    if count in (0, values.size):
        return []
    pairs = list(zip(values, padding, strict=True))
    measured = [each if where is None else each[~where] for each, where in pairs]
    low = min(each.min() for each in measured if each.size)
    high = max(each.max() for each in measured if each.size)
    for each, where in pairs:
        if where is not None:
            each[where & ((each < low) | (each > high))] = low
    return [
        f"{100 * count / values.size:.3g} % of its pixels are padding (PixelPaddingValue), nothing was measured there"
    ]
