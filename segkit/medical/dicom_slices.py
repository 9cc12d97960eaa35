"""Where one image of a DICOM object is in the patient, by its own tags."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.uid import (
    BreastTomosynthesisImageStorage,
    CTImageStorage,
    EnhancedCTImageStorage,
    EnhancedMRColorImageStorage,
    EnhancedMRImageStorage,
    EnhancedPETImageStorage,
    LegacyConvertedEnhancedCTImageStorage,
    LegacyConvertedEnhancedMRImageStorage,
    LegacyConvertedEnhancedPETImageStorage,
    MRImageStorage,
    PositronEmissionTomographyImageStorage,
    XRay3DAngiographicImageStorage,
    XRay3DCraniofacialImageStorage,
)

from segkit.errors import DataError
from segkit.medical.dicom_header import Header
from segkit.medical.dicom_tags import count_of, named, number_of, numbers_of, text_of, value_of

CROSS_SECTIONS = (
    *(CTImageStorage, EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage),
    *(MRImageStorage, EnhancedMRImageStorage, EnhancedMRColorImageStorage, LegacyConvertedEnhancedMRImageStorage),
    *(PositronEmissionTomographyImageStorage, EnhancedPETImageStorage, LegacyConvertedEnhancedPETImageStorage),
    *(XRay3DAngiographicImageStorage, XRay3DCraniofacialImageStorage, BreastTomosynthesisImageStorage),
)
"""Kinds of objects whose images are slices: one that doesn't say where it is can't be used."""
MODALITIES = ("CT", "MR", "PT")  # the same, for objects of kinds that no standard knows

SQUARE = 1e-3  # how far a direction's length may be from 1, and the cosine between two from 0


@dataclass(frozen=True, eq=False)
class Place:
    """A slice's pixels in space, LPS+ as DICOM has it.

    Attributes:
        corner: millimetres [3] to the centre of the first pixel.
        along: unit vectors [2, 3] along a row (to the next column: I) and along a column (to the next row: J).
        spacing: millimetres along I and along J.
    """

    corner: NDArray[np.float64]
    along: NDArray[np.float64]
    spacing: tuple[float, float]

    @cached_property
    def normal(self) -> NDArray[np.float64]:
        """Unit vector [3], I × J."""
        normal: NDArray[np.float64] = np.cross(self.along[0], self.along[1])
        return normal


@dataclass(frozen=True, eq=False)
class Slice:
    """One image: that of a file, or a frame of one.

    Attributes:
        header: its file.
        frame: which of the file's frames, from 0; None in files that hold one image.
    """

    header: Header
    frame: int | None = None

    @property
    def path(self) -> Path:
        """Its file."""
        return self.header.path

    @cached_property
    def place(self) -> Place | None:
        """Where it is; None where nothing says so and it needn't.

        Raises:
            DataError: it is a cross-section without a place, or many in one, or its tags contradict themselves.
        """
        if "MOSAIC" in str(value_of(self.header.tags, "ImageType", self.path)).upper():
            raise DataError(
                f"{self}: a mosaic, which shows many slices as tiles of one picture and isn't read here; convert it to "
                "NIfTI (with dcm2niix, for example)"
            )
        position = self.numbers("ImagePositionPatient", 3)
        orientation = self.numbers("ImageOrientationPatient", 6)
        spacing = self.numbers("PixelSpacing", 2)
        if position is None or orientation is None or spacing is None:
            if self.is_cross_section:
                given = {
                    "ImagePositionPatient": position,
                    "ImageOrientationPatient": orientation,
                    "PixelSpacing": spacing,
                }
                missing = next(keyword for keyword, value in given.items() if value is None)
                raise DataError(
                    f"{self}: {named(missing)} is missing: where the slice is in the patient isn't known, and won't be "
                    "made up; export the series again with it"
                )
            return None
        along = np.array(orientation).reshape(2, 3)
        lengths = np.linalg.norm(along, axis=1)
        if np.abs(lengths - 1).max() > SQUARE or abs(along[0] @ along[1]) > SQUARE:
            raise DataError(
                f"{self}: {named('ImageOrientationPatient')} is not two unit vectors at a right angle; export the "
                "series again"
            )
        self._check_spacing(spacing)
        return Place(np.array(position), along / lengths[:, None], (spacing[1], spacing[0]))  # rows come first

    @property
    def is_cross_section(self) -> bool:
        """Whether it is of a kind that has a place in the patient."""
        sop_class = self.header.sop_class
        if sop_class in CROSS_SECTIONS:
            return True
        unknown = not sop_class or sop_class.name == sop_class
        return unknown and text_of(self.header.tags, "Modality", self.path) in MODALITIES

    @property
    def size(self) -> tuple[int, int, int]:
        """Columns, rows and samples of a pixel."""
        tags, path = self.header.tags, self.path
        samples = count_of(tags, "SamplesPerPixel", path, default=1)
        return count_of(tags, "Columns", path), count_of(tags, "Rows", path), samples

    @property
    def thickness(self) -> float | None:
        """Millimetres, or the step to the next slice where only that is said."""
        for keyword in ("SliceThickness", "SpacingBetweenSlices"):
            value = number_of(self.header.tags, keyword, self.path, self.frame)
            if value is not None and value > 0:
                return value
        return None

    def picture_spacing(self) -> tuple[tuple[float, float] | None, str | None]:
        """Of an image without a place: millimetres along I and J if they are known, and what to say about them."""
        remarks = {
            "PixelSpacing": None,
            "ImagerPixelSpacing": "distances are those on the detector: in the patient they are smaller by the X-ray's "
            "magnification",
            "NominalScannedPixelSpacing": "distances are those on the scanned film",
            "ImagePlanePixelSpacing": "distances are those on the image plane",
        }
        for keyword, remark in remarks.items():
            spacing = self.numbers(keyword, 2)
            if spacing is not None:
                self._check_spacing(spacing, keyword)
                return (spacing[1], spacing[0]), remark
        spacing = self._ultrasound_spacing()
        if spacing is not None:
            return spacing, "distances are those of the ultrasound region that the file describes"
        return None, "the file doesn't say how large its pixels are: lengths are in pixels"

    def numbers(self, keyword: str, count: int) -> tuple[float, ...] | None:
        """A tag's numbers, by its functional group in objects of many frames."""
        return numbers_of(self.header.tags, keyword, count, self.path, self.frame)

    @property
    def name(self) -> str:
        """What tells it from the others of its folder or file."""
        return self.path.name if self.frame is None else f"frame {self.frame + 1}"

    def __str__(self) -> str:
        return str(self.path) if self.frame is None else f"{self.path}, frame {self.frame + 1}"

    def _check_spacing(self, spacing: tuple[float, ...], keyword: str = "PixelSpacing") -> None:
        if min(spacing) <= 0:
            raise DataError(f"{self}: {named(keyword)} is not above 0; export the series again")

    def _ultrasound_spacing(self) -> tuple[float, float] | None:
        """By the one region of an ultrasound picture, if it is in centimetres."""
        regions = self.header.tags.get("SequenceOfUltrasoundRegions") or []
        if len(regions) != 1 or any(
            number_of(regions[0], f"PhysicalUnits{axis}Direction", self.path) != 3 for axis in "XY"
        ):
            return None
        x, y = (number_of(regions[0], f"PhysicalDelta{axis}", self.path) for axis in "XY")
        return None if not x or not y else (10 * abs(x), 10 * abs(y))
