"""How far apart the voxels of a stack of TIFF pages are, by what ImageJ, OME and tifffile write into such files."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

import tifffile

from segkit.medical.lengths import nanometres_in

Resolution = float | tuple[int, int]


@dataclass(frozen=True)
class StackGrid:
    """Spacings as ImageJ's files say them.

    Attributes:
        unit: its name, as stored.
        resolution: pixels in a unit along columns and rows, as stored: a fraction, or a number.
        spacing: units from slice to slice.
    """

    unit: str
    resolution: tuple[Resolution, Resolution]
    spacing: float

    @property
    def millimetres(self) -> tuple[float, float, float]:
        """From column to column, row to row and slice to slice."""
        x, y = (1 / _number(each) for each in self.resolution)
        scale = (nanometres_in(self.unit) or math.nan) / 1e6
        return x * scale, y * scale, self.spacing * scale


def grid_of(spacing: tuple[float, float, float]) -> StackGrid:
    """The grid of spacings in millimetres."""
    return StackGrid("mm", (1 / spacing[0], 1 / spacing[1]), spacing[2])


def grid_in_file(file: tifffile.TiffFile) -> StackGrid | None:
    """What an open TIFF says of its spacings; None where it says nothing of one of them, or in no unit of length.

    The resolution tags alone, in dots per inch, tell of a printer, not of a specimen.
    """
    grid = _ome(file.ome_metadata) if file.ome_metadata else _imagej(file)
    if grid is None or nanometres_in(grid.unit) is None:
        return None
    numbers = (*(_number(each) for each in grid.resolution), grid.spacing)
    return grid if all(math.isfinite(number) and number > 0 for number in numbers) else None


def _imagej(file: tifffile.TiffFile) -> StackGrid | None:
    said: Mapping[str, Any]
    if file.is_imagej:
        said = file.imagej_metadata or {}
        spacing = said.get("spacing", 1.0)  # ImageJ leaves out a 1
    else:
        said = file.shaped_metadata[0] if file.shaped_metadata else {}
        spacing = said.get("spacing")
    unit = said.get("unit")
    tags: Any = [file.pages.first.tags.get(name) for name in ("XResolution", "YResolution")]
    if not isinstance(unit, str) or not isinstance(spacing, int | float) or None in tags:
        return None
    if any(said.get(other, unit) != unit for other in ("yunit", "zunit")):
        return None
    x, y = (tuple(tag.value) for tag in tags)
    return StackGrid(unit, (x, y), abs(float(spacing)))


def _ome(text: str) -> StackGrid | None:
    """In microns, because ImageJ has one unit for all axes."""
    sizes = []
    pixels = next((each for each in ElementTree.fromstring(text).iter() if each.tag.endswith("}Pixels")), None)
    if pixels is None:
        return None
    for axis in "XYZ":
        size, unit = pixels.get(f"PhysicalSize{axis}"), pixels.get(f"PhysicalSize{axis}Unit", "µm")
        if size is None and axis == "Z" and pixels.get("SizeZ") == "1":
            size, unit = "1", "µm"
        nanometres = nanometres_in(unit)
        if size is None or nanometres is None or not _positive(size):
            return None
        sizes.append(float(size) * (nanometres / 1e3))
    return StackGrid("um", (1 / sizes[0], 1 / sizes[1]), sizes[2])


def _positive(text: str) -> bool:
    try:
        return 0 < float(text) < math.inf
    except ValueError:
        return False


def _number(resolution: Resolution) -> float:
    if isinstance(resolution, tuple):
        return resolution[0] / resolution[1] if resolution[1] else math.nan
    return resolution
