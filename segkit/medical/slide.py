"""Tiled pathology slides, and TIFFs of several resolutions in general: which level is read for which resolution."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from pathlib import Path

import tifffile

from segkit.data.claims import LIMIT
from segkit.data.decoding import is_tiff, other_pictures, picture_series, tiff_orientation
from segkit.data.picture import Picture, Resolution, tiff_parts
from segkit.data.reader import read_pixels
from segkit.medical.slide_resolution import EQUAL, resolution_of

SIDEWAYS = 5  # orientations from here on exchange rows and columns


@dataclass(frozen=True)
class Level:
    """One of the sizes that a slide is stored in.

    Attributes:
        height, width: in pixels.
        mpp_y, mpp_x: microns from one pixel to the next, down and across; None where the file doesn't say.
    """

    height: int
    width: int
    mpp_y: float | None
    mpp_x: float | None

    @property
    def mpp(self) -> Resolution | None:
        """Microns per pixel, down and across."""
        return None if self.mpp_y is None or self.mpp_x is None else (self.mpp_y, self.mpp_x)


@dataclass(frozen=True)
class Slide:
    """A TIFF's picture in all its resolutions; labels, overviews and thumbnails are none of it.

    Attributes:
        path: the file.
        levels: the finest first.
        said_by: what in the file says its resolution; None where nothing does.
    """

    path: Path
    levels: tuple[Level, ...]
    said_by: str | None

    def with_resolution(self, mpp: float) -> "Slide":
        """The same slide, whose full resolution is another than the file says."""
        return Slide(self.path, _levels([(level.height, level.width) for level in self.levels], (mpp, mpp)), "the user")

    def level_for(self, mpp: float | None) -> int:
        """The number of the coarsest level that is as fine as ``mpp``, or at most 5 % coarser; 0 where none is known.

        0, too, where even the finest is coarser.
        """
        fine = [
            number
            for number, level in enumerate(self.levels)
            if mpp is not None and level.mpp is not None and max(level.mpp) <= mpp * (1 + EQUAL)
        ]
        return max(fine, default=0, key=lambda number: max(self.levels[number].mpp or (0.0,)))


def slide_of(path: str | Path) -> Slide | None:
    """What a TIFF that holds one picture says of its resolutions; None for any other file, a stack among them.

    A TIFF that isn't a pyramid is a slide of a single level. Levels show the same area: the resolution of the coarser
    ones follows from their sizes.
    """
    path = Path(path)
    try:
        with path.open("rb") as opened:
            if not is_tiff(opened.read(4)):
                return None
        with tifffile.TiffFile(path) as file:
            return _slide(path, file)
    except Exception:  # who reads the file says what is wrong with it
        return None


def without_resolution(paths: Iterable[Path]) -> int:
    """How many of these pictures don't say their resolution."""
    slides = map(slide_of, paths)
    return sum(slide is None or slide.said_by is None for slide in slides)


def open_slide(path: str | Path, *, mpp: float | None, limit: int = LIMIT, own: float | None = None) -> Picture | None:
    """The level of a slide that is read for a resolution, ready to be read by rows; None where the file is no slide.

    Args:
        path: of the file.
        mpp: microns per pixel that are wanted; None: full resolution.
        limit: bytes that may be decoded at once.
        own: microns per pixel of its full resolution, whatever the file says.

    Raises:
        DataError: as :func:`segkit.data.picture.open_picture`.
    """
    slide = slide_of(path)
    if slide is None:
        return None
    slide = slide if own is None else slide.with_resolution(own)
    number = slide.level_for(mpp)
    rows = tiff_parts(slide.path, limit, number)
    if rows is None and number:  # a level that can only be decoded whole; then the finest, of which more is known
        number = 0
        rows = tiff_parts(slide.path, limit)
    pixels = read_pixels(slide.path, limit=limit) if rows is None else rows
    return Picture(slide.path, pixels, mpp=slide.levels[number].mpp)


def _slide(path: Path, file: tifffile.TiffFile) -> Slide | None:
    series = picture_series(file)
    if other_pictures(file) or not _is_picture(series):
        return None
    found = resolution_of(file, series.keyframe)
    resolution, said_by = found if found is not None else (None, None)
    sizes = [(level.keyframe.imagelength, level.keyframe.imagewidth) for level in series.levels]
    turned = tiff_orientation(file)
    if turned != 1:  # decoded at once, so the finest alone
        sizes = sizes[:1]
    if turned >= SIDEWAYS:
        sizes = [(width, height) for height, width in sizes]
        resolution = resolution and (resolution[1], resolution[0])
    return Slide(path, _levels(sizes, resolution), said_by)


def _is_picture(series: tifffile.TiffPageSeries) -> bool:
    """Whether its pages are channels of one picture, or a single page: no stack."""
    many = [axis for axis, length in zip(series.axes, series.shape, strict=True) if length > 1]
    return set(many) <= set("YXSC") and prod(series.shape) > 0


def _levels(sizes: list[tuple[int, int]], resolution: Resolution | None) -> tuple[Level, ...]:
    if resolution is None:
        return tuple(Level(height, width, None, None) for height, width in sizes)
    (full_height, full_width), (down, across) = sizes[0], resolution
    return tuple(
        Level(height, width, down * full_height / height, across * full_width / width) for height, width in sizes
    )
