"""NRRD and MetaImage through SimpleITK: volumes with their place in space, masks and maps on exactly the same grid."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK
from numpy.typing import NDArray

from segkit.data.claims import LIMIT
from segkit.data.geometry import Geometry
from segkit.data.suffixes import stem_of
from segkit.data.volume import Volume
from segkit.errors import DataError, UsageError
from segkit.files import atomic_path
from segkit.medical.itk_header import TextHeader, check_whole, read_text_header
from segkit.medical.muted import muted
from segkit.medical.stored import check_values, plain_values
from segkit.one_line import one_line

sitk: Any = SimpleITK  # whose functions have no types

LPS = "left-posterior-superior"
TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])  # ITK's x and y are opposite to NIfTI's
POSITIONS, DIRECTIONS = ("offset", "position", "origin"), ("transformmatrix", "rotation", "orientation")
MILLIMETRES = ("", "mm", "millimeter", "millimetre", "?")
ITEMS = {"CHAR": 1, "UCHAR": 1, "SHORT": 2, "USHORT": 2, "LONG_LONG": 8, "ULONG_LONG": 8, "DOUBLE": 8}
"""Bytes of MetaImage's types; all others take four."""

NOTHING = re.compile(r"No such file|cannot be read")
ADDRESS = re.compile(r"\w+\(0x[0-9a-f]+\): ")


@dataclass(frozen=True)
class ItkGrid:
    """A grid as ITK has it: x to the left, y to the back, z to the top, millimetres; of two or three axes.

    Attributes:
        origin: the first voxel's centre.
        spacing: along each axis.
        direction: of each axis a column, row after row.
    """

    origin: tuple[float, ...]
    spacing: tuple[float, ...]
    direction: tuple[float, ...]

    def affine(self) -> NDArray[np.float64]:
        """From indices to RAS+; a single slice is 1 mm thick, at z = 0."""
        axes, affine = len(self.origin), np.eye(4)
        affine[:axes, :axes] = np.reshape(self.direction, (axes, axes)) * self.spacing
        affine[:axes, 3] = self.origin
        return TO_RAS @ affine


def read_itk(path: str | Path, *, limit: int = LIMIT) -> Volume:
    """Return the volume of a .nrrd, .nhdr, .mha or .mhd file; vectors, or a fourth axis, become the channels.

    A file that doesn't say where it lies, and which way up, isn't located. ``Volume.origin`` is an :class:`ItkGrid`.

    Args:
        path: the file; of a pair the header's.
        limit: bytes that its values may take.

    Raises:
        DataError: the file is missing, damaged, of another kind, not in millimetres, takes more than the limit, or
            holds what are no finite intensities on a grid of two or three axes.
    """
    path = Path(path)
    header = read_text_header(path)
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        with _muted():
            reader.ReadImageInformation()
        size, components = reader.GetSize(), reader.GetNumberOfComponents()
        stored = _type(reader, path)
        if len(size) not in (2, 3, 4) or (len(size) == 4 and components > 1):
            told = f"{len(size)} axes" + (f" and {components} values a voxel" if components > 1 else "")
            raise DataError(f"{path}: {told}; a volume has 3 axes, or 4 with channels last: save one of them")
        check_values(path, (*size, components), stored, limit)
        _geometry(_grid(reader), size, path)
        check_whole(header, prod(size) * components * _item(header, stored))
        with _muted():
            image = reader.Execute()
    except RuntimeError as error:
        raise DataError(f"{path}: can't be read as an image ({_reason(error)})") from error
    _check_unit(header, path)
    grid = _grid(image)  # of a negative spacing the reader itself has another idea
    about = _about(header, reader, len(grid.origin))
    slope, intercept = (_number(header, f"elementtointensityfunction{part}", path) for part in ("slope", "offset"))
    return Volume(
        name=stem_of(path),
        values=plain_values(_array(image), path, 1.0 if slope is None else slope, intercept or 0.0),
        geometry=_geometry(grid, size, path),
        path=path,
        files=(path,) if header.data == path else (path, header.data),
        origin=grid,
        **about,
    )


def write_itk(path: Path, values: NDArray[np.uint8] | NDArray[np.float32], volume: Volume) -> None:
    """Write class ids [I, J, K], or maps [I, J, K] or [I, J, K, C], on the volume's grid to .nrrd or .mha, compressed.

    Raises:
        UsageError: the file can't be written.
    """
    if values.shape[:3] != volume.geometry.shape:
        raise ValueError(f"{values.shape} values for a grid {volume.geometry.shape}")
    grid = volume.origin if isinstance(volume.origin, ItkGrid) else grid_of(volume.geometry)
    turned = values.transpose(2, 1, 0, *range(3, values.ndim))  # [K, J, I] or [K, J, I, C]
    turned = turned[0] if len(grid.origin) == 2 else turned
    image = sitk.GetImageFromArray(np.ascontiguousarray(turned), isVector=values.ndim == 4)
    image.SetOrigin(grid.origin)
    image.SetSpacing(grid.spacing)
    image.SetDirection(grid.direction)
    with atomic_path(path) as temporary:
        try:
            with _muted():
                sitk.WriteImage(image, str(temporary), useCompression=True)
        except RuntimeError as error:
            raise UsageError(f"{path}: can't be written ({_reason(error)}); choose another place") from error


def grid_of(geometry: Geometry) -> ItkGrid:
    """The same grid as ITK has it."""
    affine = TO_RAS @ geometry.affine
    direction = affine[:3, :3] / geometry.spacing
    return ItkGrid(tuple(affine[:3, 3].tolist()), geometry.spacing, tuple(direction.ravel().tolist()))


def _grid(source: Any) -> ItkGrid:
    """The first three axes of an image, or of what a reader knows of one."""
    all_axes = len(source.GetOrigin())
    axes = min(all_axes, 3)
    direction = np.reshape(source.GetDirection(), (all_axes, all_axes))[:axes, :axes]
    return ItkGrid(source.GetOrigin()[:axes], source.GetSpacing()[:axes], tuple(direction.ravel().tolist()))


def _geometry(grid: ItkGrid, size: Sequence[int], path: Path) -> Geometry:
    i, j, k = (*size[:3], 1)[:3]
    try:
        return Geometry((i, j, k), grid.affine())
    except ValueError as error:
        raise DataError(f"{path}: its directions or spacings are damaged ({error}); write them anew") from error


def _array(image: Any) -> NDArray[Any]:
    """[I, J, K, C] of an image of two, three or four axes."""
    values: NDArray[Any] = sitk.GetArrayFromImage(image)
    axes = image.GetDimension()
    if image.GetNumberOfComponentsPerPixel() == 1:
        values = values[..., None]
    values = values.transpose(*reversed(range(axes)), axes)
    if axes == 2:
        return values[:, :, None]
    return values[..., 0] if axes == 4 else values


def _type(reader: Any, path: Path) -> np.dtype[Any]:
    """The type of its numbers; of complex ones their own, which are refused later."""
    name = sitk.GetPixelIDValueAsString(reader.GetPixelID())
    for words, kind in (("complex", "c"), ("float", "f"), ("unsigned integer", "u"), ("signed integer", "i")):
        if words in name:
            bits = next(bits for bits in (8, 16, 32, 64) if f"{bits}-bit" in name)
            return np.dtype(f"{kind}{bits // 8 * (2 if kind == 'c' else 1)}")
    raise DataError(f"{path}: values of type {name} are no intensities; export it as 16-bit integers or floats")


def _item(header: TextHeader, stored: np.dtype[Any]) -> int:
    """Bytes of a number in the file, where 'long' has four whatever it has in memory."""
    element = header.fields.get("elementtype", "")
    return ITEMS.get(element.removeprefix("MET_").removesuffix("_ARRAY"), 4) if element else stored.itemsize


def _about(header: TextHeader, reader: Any, axes: int) -> dict[str, Any]:
    """Whether it is located and spaced, and notes."""
    fields = header.fields
    if "elementtype" not in fields:
        space = reader.GetMetaData("NRRD_space") if reader.HasMetaDataKey("NRRD_space") else ""
        located = space == LPS and "spaceorigin" in fields and "spacedirections" in fields
        spaced = "spacedirections" in fields or "spacings" in fields
        wanted = "space (left-posterior-superior or alike), space directions and space origin"
    else:
        located = all(any(name in fields for name in names) for names in (POSITIONS, DIRECTIONS))
        spaced = "elementspacing" in fields or "elementsize" in fields
        wanted = "Offset and TransformMatrix"
    notes = []
    if axes == 2:
        notes.append("a single slice of two axes: it names no place in the patient, and counts as 1 mm thick")
    elif not located:
        notes.append(f"names no place in the patient: that takes {wanted}")
    if not spaced:
        notes.append("names no spacing: lengths are in voxels")
    return {"located": located and axes == 3, "spaced": spaced, "notes": tuple(notes)}


def _check_unit(header: TextHeader, path: Path) -> None:
    named = header.fields.get("spaceunits", header.fields.get("distanceunits", ""))
    for unit in named.replace('"', " ").split():
        if unit.lower() not in MILLIMETRES:
            raise DataError(f"{path}: its lengths are in {unit}, which ITK takes for mm; save it in mm")


def _number(header: TextHeader, name: str, path: Path) -> float | None:
    text = header.fields.get(name)
    try:
        return None if text is None else float(text)
    except ValueError:
        raise DataError(f"{path}: {name} is {text!r}, expected a number; export it again") from None


def _reason(error: Exception) -> str:
    """What is said last, without places in memory, and without what isn't so: of a bad header, that it isn't there."""
    lines = [line for line in str(error).splitlines() if line.strip() and not NOTHING.search(line)]
    last = ADDRESS.sub("", lines[-1]).rpartition("ERROR: ")[2] if lines else ""
    return "its header doesn't hold together" if not last or lines[-1].startswith("Exception") else one_line(last)


@contextmanager
def _muted() -> Iterator[None]:
    """Without ITK's warnings, and without what its readers print of files that they can't read."""
    with muted():
        shown = sitk.ProcessObject.GetGlobalWarningDisplay()
        sitk.ProcessObject.SetGlobalWarningDisplay(False)
        try:
            yield
        finally:
            sitk.ProcessObject.SetGlobalWarningDisplay(shown)
