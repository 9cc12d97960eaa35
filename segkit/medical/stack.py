"""TIFFs of many pages as volumes: pages are slices, with spacings where ImageJ or OME metadata name them."""

import logging
import warnings
from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from segkit.data.claims import DEFLATE, LIMIT, check_inflated
from segkit.data.decoding import COMPRESSIONS, PHOTOMETRICS, SLIDES, is_tiff, other_pictures, picture_series
from segkit.data.geometry import Geometry
from segkit.data.suffixes import stem_of
from segkit.data.volume import Volume
from segkit.errors import DataError
from segkit.files import atomic_path
from segkit.medical.muted import muted
from segkit.medical.stack_spacing import StackGrid, grid_in_file, grid_of
from segkit.medical.stored import check_file, check_values, cut_short, plain_values
from segkit.one_line import one_line

logging.getLogger("tifffile").addHandler(logging.NullHandler())  # what is wrong with a file is said in our one line

SLICES, CHANNELS = "ZIQ", "CS"  # axes as tifffile names them: depth or pages that nothing is said of; colours
LARGE = 1 << 31  # bytes beyond which a file is no ImageJ one: it counts its own with 32 bits


def is_stack(path: str | Path) -> bool:
    """Whether a file is a TIFF with more than one slice, or frame, or the beginning of one.

    A pyramid's levels, thumbnails, and pages that are the colours of one picture are no slices. Of a file that can't be
    read at all it isn't said: the reader of pictures explains it.
    """
    path = Path(path)
    try:
        with path.open("rb") as opened:
            if not is_tiff(opened.read(4)):
                return False
        with tifffile.TiffFile(path) as file:
            if file.flags & SLIDES:
                return False
            if not _linked(file):
                return True
            series = picture_series(file)
            lengths = zip(series.axes, series.shape, strict=True)
            return any(axis not in "YX" + CHANNELS and length > 1 for axis, length in lengths)
    except Exception:  # decoders raise what they like
        return False


def read_stack(path: str | Path, *, limit: int = LIMIT) -> Volume:
    """Return a TIFF's pages as axial slices from bottom to top, [columns, rows, pages, channels]; never located.

    A picture's left is taken for the patient's right. ``Volume.origin`` is a :class:`StackGrid`, or None where the
    file names no spacing.

    Args:
        path: the file.
        limit: bytes that its values may take.

    Raises:
        DataError: the file is missing, damaged, one of several, takes more than the limit, or holds a series over time,
            further axes, or pictures of several kinds.
    """
    path = Path(path)
    check_file(path)
    try:
        with tifffile.TiffFile(path) as file:
            values = _values(file, path, limit)
            grid = grid_in_file(file)
    except DataError:
        raise
    except Exception as error:  # decoders raise what they like
        raise DataError(f"{path}: can't be decoded as a stack of slices ({one_line(error)})") from error
    x, y, z = (1.0, 1.0, 1.0) if grid is None else grid.millimetres
    notes = ("pages are slices; the file names no place in the patient",)
    if grid is None:
        notes = ("pages are slices; the file names no spacing: lengths are in voxels",)
    return Volume(
        name=stem_of(path),
        values=plain_values(values, path),
        geometry=Geometry((values.shape[0], values.shape[1], values.shape[2]), np.diag([-x, -y, z, 1.0])),
        path=path,
        files=(path,),
        located=False,
        spaced=grid is not None,
        origin=grid,
        notes=notes,
    )


def write_stack(path: Path, values: NDArray[np.uint8] | NDArray[np.float32], volume: Volume, meaning: str = "") -> None:
    """Write class ids [I, J, K], or maps [I, J, K] or [I, J, K, C], as pages with the spacings that the volume names.

    Up to 2 GiB as ImageJ writes stacks, several maps as channels; ``meaning`` is what ImageJ shows as the file's info.
    """
    if values.shape[:3] != volume.geometry.shape:
        raise ValueError(f"{values.shape} values for a grid {volume.geometry.shape}")
    grid = volume.origin
    if not isinstance(grid, StackGrid):
        grid = grid_of(volume.geometry.spacing) if volume.spaced else None
    channels = values.ndim == 4
    pages = np.ascontiguousarray(values.transpose(2, 3, 1, 0) if channels else values.transpose(2, 1, 0))
    metadata: dict[str, Any] = {"axes": "ZCYX" if channels else "ZYX"}
    if grid is not None:
        metadata |= {"unit": grid.unit, "spacing": grid.spacing}
    if meaning:
        metadata["Info"] = meaning
    with atomic_path(path) as temporary:
        tifffile.imwrite(
            temporary,
            pages,
            imagej=pages.nbytes <= LARGE,
            bigtiff=pages.nbytes > LARGE,
            photometric="minisblack",
            compression="deflate",
            resolution=None if grid is None else grid.resolution,
            metadata=metadata,
            software=False,
        )


def _values(file: tifffile.TiffFile, path: Path, limit: int) -> NDArray[Any]:
    """What the pages store, [X, Y, Z, C]."""
    if not _linked(file):
        raise cut_short(path)
    series = picture_series(file)
    if series.is_multifile or any(page is None for page in series.pages):
        raise DataError(f"{path}: some of its pages are in other files, or missing; save all as one file")
    others = other_pictures(file)
    if others:
        raise DataError(
            f"{path}: {len(series.pages)} pages, and {others} of another size or kind; a stack's pages are alike: save "
            "it alone"
        )
    lengths = [(axis, int(length)) for axis, length in zip(series.axes, series.shape, strict=True)]
    _check_axes(lengths, path)
    check_values(path, series.shape, series.dtype, limit)
    _check_pages(file, path, limit)
    stored, axes = _decoded(file, path), series.axes
    page = series.keyframe
    alpha = sum(sample in (1, 2) for sample in page.extrasamples)  # associated, unassociated
    if alpha and axes.endswith("S"):
        stored = stored[..., : stored.shape[-1] - alpha]
    keep = [at for at, (axis, length) in enumerate(lengths) if length > 1 or axis in "YX"]
    stored, axes = stored.reshape([stored.shape[at] for at in keep]), "".join(axes[at] for at in keep)
    wanted = ["X", "Y", *(axis for axis in axes if axis in SLICES), *(axis for axis in axes if axis in CHANNELS)]
    turned = stored.transpose([axes.index(axis) for axis in wanted])
    if not any(axis in SLICES for axis in wanted):
        turned = np.expand_dims(turned, 2)
    return turned if turned.ndim == 4 else turned[..., None]


def _check_axes(lengths: Sequence[tuple[str, int]], path: Path) -> None:
    long = [(axis, length) for axis, length in lengths if length > 1 and axis not in "YX"]
    for axis, length in long:
        if axis == "T":
            raise DataError(
                f"{path}: a series of {length} frames over time; save one of them, or, where they are slices, say so "
                "in the file (ImageJ: Image > Properties)"
            )
    told = "×".join(f"{axis}{length}" for axis, length in lengths)
    slices = sum(axis in SLICES for axis, _ in long)
    if slices > 1 or sum(axis in CHANNELS for axis, _ in long) > 1 or len(long) > 2 or len(long) - slices > 1:
        raise DataError(f"{path}: axes {told}; a stack has slices and at most channels: save one of them")
    if any(axis not in SLICES + CHANNELS for axis, _ in long):
        raise DataError(f"{path}: axes {told}; a stack has slices and at most channels: save one of them")


def _check_pages(file: tifffile.TiffFile, path: Path, limit: int) -> None:
    """Refuse (DataError) pages that end after the file, are fewer than said, or unpack to more than a limit."""
    series, size = picture_series(file), path.stat().st_size
    told = (file.imagej_metadata or {}).get("images", 0)
    planes = prod(length for axis, length in zip(series.axes, series.shape, strict=True) if axis not in "YXS")
    if isinstance(told, int) and told > planes:
        raise cut_short(path)
    if len(series.pages) == 1 and series.dataoffset is not None and series.dataoffset + series.nbytes > size:
        raise cut_short(path)
    page: Any
    for page in series.pages:
        for offset, count in zip(page.dataoffsets, page.databytecounts, strict=False):
            if offset + count > size:
                raise cut_short(path)
            if page.compression in COMPRESSIONS[1:] and count * DEFLATE > limit:
                file.filehandle.seek(offset)
                check_inflated(file.filehandle.read(count), path, limit)


def _decoded(file: tifffile.TiffFile, path: Path) -> NDArray[Any]:
    """All pages in the shape of the series: by tifffile, or by Pillow what that can't unpack."""
    series: Any = picture_series(file)
    page = series.keyframe
    photometrics = (*PHOTOMETRICS, tifffile.PHOTOMETRIC.PALETTE)  # whose numbers are what ImageJ shows in colours
    if page.compression in COMPRESSIONS and page.photometric in photometrics:
        values: NDArray[Any] = series.asarray()
        return np.invert(values) if _inverted(page, values) else values
    shape = series.shape[-len(page.shape) :]
    pages = []
    with muted(), warnings.catch_warnings(action="ignore"), Image.open(path) as picture:
        for number in (found.index for found in series.pages):
            picture.seek(number)
            pages.append(np.asarray(picture.convert("RGB") if picture.mode == "YCbCr" else picture))
    if any(found.shape != shape or found.dtype.itemsize != series.dtype.itemsize for found in pages):
        raise ValueError(f"{page.dtype} compressed by {page.compression.name} isn't read here; save it uncompressed")
    return np.stack(pages).reshape(series.shape)


def _inverted(page: tifffile.TiffPage, values: NDArray[Any]) -> bool:
    return page.photometric == tifffile.PHOTOMETRIC.MINISWHITE and values.dtype.kind in "ub"


def _linked(file: tifffile.TiffFile) -> bool:
    """Whether each page leads to a page that is in the file, and the last to none: otherwise the end is missing."""
    form, handle = file.tiff, file.filehandle
    handle.seek(4 if form.offsetsize == 4 else 8)
    seen: set[int] = set()
    while True:
        offset = int.from_bytes(handle.read(form.offsetsize), "little" if file.byteorder == "<" else "big")
        if offset == 0:
            return True
        if offset in seen:
            return False
        seen.add(offset)
        handle.seek(offset)
        count = handle.read(form.tagnosize)
        tags = int.from_bytes(count, "little" if file.byteorder == "<" else "big")
        if len(count) < form.tagnosize or offset + form.tagnosize + tags * form.tagsize + form.offsetsize > handle.size:
            return False
        handle.seek(offset + form.tagnosize + tags * form.tagsize)
