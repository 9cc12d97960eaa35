"""What the stored numbers of a DICOM image mean: rescaled, turned round, padding, and the window to show them in."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.pixels.processing import apply_modality_lut

from segkit.errors import DataError
from segkit.medical.dicom_slices import Slice
from segkit.medical.dicom_tags import GREY, count_of, named, number_of, text_of, value_of
from segkit.medical.stored import KEPT


@dataclass(frozen=True, eq=False)
class Meaning:
    """How one image's stored numbers become values.

    Attributes:
        slope, intercept: of rescaling.
        table: the data set whose modality LUT is used in their place; None where there is none.
        mirror: what a value is subtracted from where the image is a negative; None where it is none.
        padding: stored numbers from which to which nothing was measured; None where all were.
        window: (low, high) of the values that it would be shown with; None where it doesn't say.
    """

    slope: float = 1.0
    intercept: float = 0.0
    table: Dataset | None = None
    mirror: float | None = None
    padding: tuple[int, int] | None = None
    window: tuple[float, float] | None = None

    def values(self, stored: NDArray[Any]) -> NDArray[Any]:
        """Values of the same shape: uint8, int16 or uint16 where they are whole numbers that fit, else float32."""
        values = self._rescaled(stored)
        if self.mirror is not None:
            whole = values.dtype.kind in "iu" and self.mirror == int(self.mirror)
            values = int(self.mirror) - values.astype(np.int64) if whole else self.mirror - values.astype(np.float64)
            if whole and stored.dtype in KEPT and self._is_plain:
                return values.astype(stored.dtype)  # a mirror image of the type's range stays in it
        return small(values)

    def is_padding(self, stored: NDArray[Any]) -> NDArray[np.bool_] | None:
        """Where nothing was measured; None where that is nowhere."""
        if self.padding is None:
            return None
        found = (stored >= self.padding[0]) & (stored <= self.padding[1])
        return found if found.any() else None

    @property
    def _is_plain(self) -> bool:
        return self.table is None and self.slope == 1 and self.intercept == 0

    def _rescaled(self, stored: NDArray[Any]) -> NDArray[Any]:
        if self.table is not None:
            table: NDArray[Any] = apply_modality_lut(stored, self.table)
            return table
        if self._is_plain:
            return stored
        if stored.dtype.kind in "iu" and self.slope == 1 and self.intercept == int(self.intercept):
            return stored.astype(np.int64) + int(self.intercept)
        return stored * np.float64(self.slope) + self.intercept


def meaning_of(dataset: Dataset, image: Slice) -> Meaning:
    """What the numbers of an image mean by its whole data set; colours mean themselves.

    X-ray pictures of the kind MONOCHROME1 are negatives and are turned round, so that bright means dense in all of
    them. Of cross-sections and of NM, whose values are quantities, it only says how to show them, so they stay.

    Raises:
        DataError: a tag isn't what it should be.
    """
    path = image.path
    photometric = text_of(dataset, "PhotometricInterpretation", path)
    if photometric not in GREY:
        return Meaning()
    slope = number_of(dataset, "RescaleSlope", path, image.frame)
    intercept = number_of(dataset, "RescaleIntercept", path, image.frame) or 0.0
    if slope == 0:
        raise DataError(f"{image}: {named('RescaleSlope')} is 0, which makes all values one; export the series again")
    table = dataset if value_of(dataset, "ModalityLUTSequence", path) is not None else None
    plain = Meaning(1.0 if slope is None else slope, intercept, table)
    bits = count_of(dataset, "BitsStored", path, default=count_of(dataset, "BitsAllocated", path))
    signed = number_of(dataset, "PixelRepresentation", path) == 1
    mirror = None
    if photometric == "MONOCHROME1" and is_negative(image):
        lowest, highest = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
        ends = plain.values(np.array([lowest, highest], np.int64))
        mirror = float(ends[0]) + float(ends[1])
    window = _window(dataset, image)
    if window is not None and mirror is not None:
        window = mirror - window[1], mirror - window[0]
    padding = _padding(dataset, image, signed)
    return Meaning(plain.slope, plain.intercept, table, mirror, padding, window)


def is_negative(image: Slice) -> bool:
    """Whether an image would be turned round if it is of the kind MONOCHROME1."""
    return not image.is_cross_section and text_of(image.header.tags, "Modality", image.path) != "NM"


def small(values: NDArray[Any]) -> NDArray[Any]:
    """The same values in one of the types that volumes have: as they are, in 16 bits if they fit, else float32."""
    if values.dtype in KEPT:
        return values
    if values.dtype.kind in "iu":
        low, high = int(values.min()), int(values.max())
        for kind in (np.int16, np.uint16):
            if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
                return values.astype(kind)
    return values.astype(np.float32)


def stacked(images: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """[K, rows, columns, C] of images [rows, columns, C], in a type that holds the values of all."""
    kinds = {image.dtype for image in images}
    if len(kinds) == 1:
        return np.stack(images)
    if any(kind.kind == "f" for kind in kinds):
        return np.stack([image.astype(np.float32) for image in images])
    return small(np.stack([image.astype(np.int32) for image in images]))


def _padding(dataset: Dataset, image: Slice, signed: bool) -> tuple[int, int] | None:
    first = number_of(dataset, "PixelPaddingValue", image.path)
    if first is None:
        return None
    last = number_of(dataset, "PixelPaddingRangeLimit", image.path)
    bits = count_of(dataset, "BitsAllocated", image.path)
    ends = []
    for end in (first, first if last is None else last):
        number = int(end) % (1 << bits)  # it may have been read as a number without, or with, a sign
        ends.append(number - (1 << bits) if signed and number >= 1 << bits - 1 else number)
    return min(ends), max(ends)


def _window(dataset: Dataset, image: Slice) -> tuple[float, float] | None:
    """The first window, by the formulas of PS3.3 C.11.2.1.2."""
    centre, width = (_first(dataset, keyword, image) for keyword in ("WindowCenter", "WindowWidth"))
    if centre is None or width is None:
        return None
    function = str(value_of(dataset, "VOILUTFunction", image.path, image.frame) or "LINEAR")
    if function == "LINEAR":
        low, high = centre - 0.5 - (width - 1) / 2, centre - 0.5 + (width - 1) / 2
    else:
        low, high = centre - width / 2, centre + width / 2
    return (low, high) if low < high else None


def _first(dataset: Dataset, keyword: str, image: Slice) -> float | None:
    """The first of a tag's numbers; None where there is none that can be read: a window is only a proposal."""
    try:
        value = value_of(dataset, keyword, image.path, image.frame)
        if isinstance(value, Sequence) and not isinstance(value, str):
            value = value[0]
        return None if value is None else float(value)
    except (DataError, ValueError, TypeError):
        return None
