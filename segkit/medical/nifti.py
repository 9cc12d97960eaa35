"""NIfTI: volumes with their place in space, and masks and maps on exactly the same grid."""

import gzip
import math
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import nibabel
import numpy as np
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from segkit.data.claims import AT_A_TIME, DEFLATE, LIMIT
from segkit.data.geometry import Geometry
from segkit.data.suffixes import stem_of, suffix_of
from segkit.data.volume import Volume
from segkit.errors import DataError
from segkit.files import atomic_path
from segkit.medical.stored import check_file, check_values, cut_short, plain_values

HEADERS: dict[int, Any] = {348: nibabel.Nifti1Header, 540: nibabel.Nifti2Header}
"""By the bytes that they take, which a file begins with."""

UNITS = {1: 1000.0, 2: 1.0, 3: 0.001}
"""Millimetres of metres, millimetres and microns; a file that names no unit means millimetres."""

LEVEL = 4
"""Of compression: beyond it masks take four times as long for a quarter less, and maps gain nothing."""

RGB, RGBA = 128, 2304
"""Codes of types with three and four bytes a voxel."""

TYPED = ("data_type", "db_name", "descrip", "aux_file", "intent_name")
"""Fields of text, which may name a patient."""


def read_nifti(path: str | Path, *, limit: int = LIMIT) -> Volume:
    """Return the volume of a .nii, .nii.gz or .hdr file, values scaled by its slope and intercept.

    The last of four axes becomes the channels, as do colours; a single slice has K = 1. Places are those of the sform
    where it has a code, otherwise those of the qform. Without either code a file has spacings alone, and isn't located.
    ``Volume.origin`` is the header as it is stored.

    Args:
        path: the file; of a pair the header's.
        limit: bytes that its values may take.

    Raises:
        DataError: the file is missing, damaged, no NIfTI, takes more than the limit, or holds what are no finite
            intensities on a grid of two or three axes.
    """
    path = Path(path)
    header, data = _read_header(path)
    shape = _shape(header, path)
    stored = _type(header, path)
    check_values(path, (*shape, 3) if stored.names else shape, stored["R"] if stored.names else stored, limit)
    geometry, about = _geometry(header, shape, path)
    try:
        slope, intercept = header.get_slope_inter()
    except HeaderDataError as error:
        raise DataError(f"{path}: its scaling is damaged ({error}); export it again") from error
    low, high = float(header["cal_min"]), float(header["cal_max"])
    voxels = _read_voxels(header, data, stored, shape)
    if voxels.dtype.names:
        voxels = np.stack([voxels[..., 0][colour] for colour in "RGB"], axis=-1)
        slope = None
    scaling = (1.0, 0.0) if slope is None else (float(slope), float(intercept))
    return Volume(
        name=stem_of(path),
        values=plain_values(voxels, path, *scaling),
        geometry=geometry,
        path=path,
        files=(path,) if data == path else (path, data),
        voi=(low, high) if math.isfinite(low) and math.isfinite(high) and low < high else None,
        origin=header,
        **about,
    )


def write_nifti(path: Path, values: NDArray[np.generic], volume: Volume, meaning: str = "") -> None:
    """Write class ids [I, J, K], or maps [I, J, K] or [I, J, K, C], with the volume's header.

    Its affines, their codes, spacings and units stay as they are; of its texts only the description is there, and says
    the ``meaning``. A volume from another format gets a header that says the same of its grid.
    """
    if values.shape[:3] != volume.geometry.shape:
        raise ValueError(f"{values.shape} values for a grid {volume.geometry.shape}")
    header, own = _header_for(volume)
    flat = own and len(header.get_data_shape()) == 2
    shape = values.shape[:2] if flat and values.ndim == 3 else values.shape
    spacings = header["pixdim"].copy()
    header.set_data_shape(shape)  # which sets the spacings of further axes
    header["pixdim"] = spacings
    header.set_data_dtype(values.dtype)
    if len(shape) > 3:
        header["pixdim"][4] = 1
    header["scl_slope"], header["scl_inter"] = 1, 0
    header["vox_offset"] = header.single_vox_offset
    header["magic"] = header.single_magic
    for field in TYPED:
        if field in header.keys():  # noqa: SIM118 (a header can't be asked by `in`)
            header[field] = b""
    for field in ("cal_min", "cal_max", "intent_code", "intent_p1", "intent_p2", "intent_p3"):
        header[field] = 0
    header["descrip"] = meaning.encode("ascii", "replace")[:79]
    stored = np.ascontiguousarray(values.reshape(shape).T, values.dtype.newbyteorder("<"))
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        if suffix_of(path) == ".nii":
            _write_parts(file, header, stored)
            return
        # Neither name nor time, so that the same mask is the same file.
        with gzip.GzipFile(filename="", mode="wb", compresslevel=LEVEL, fileobj=file, mtime=0) as packed:
            _write_parts(packed, header, stored)


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """The file's bytes, unpacked where it is compressed, whatever its name says."""
    check_file(path)
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        try:
            if packed:
                with gzip.GzipFile(fileobj=file) as unpacked:
                    yield unpacked  # type: ignore[misc]  # it reads as a file does
            else:
                yield file
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise cut_short(path) from error


def _read_header(path: Path) -> tuple[Any, Path]:
    """The header, without its extensions, and the file that holds the voxels."""
    with _opened(path) as file:
        start = file.read(4)
        for order in "<>":
            size = struct.unpack(f"{order}i", start)[0] if len(start) == 4 else 0
            if size in HEADERS:
                break
        else:
            raise DataError(f"{path}: no NIfTI file; its first bytes are those of another kind")
        block = start + file.read(size - 4)
    if len(block) < size:
        raise cut_short(path)
    header = HEADERS[size](block, endianness=order, check=False)
    kind = bytes(header["magic"].item())[:3]
    if kind not in (b"n+1", b"n+2", b"ni1", b"ni2"):
        raise DataError(f"{path}: an Analyze file, which doesn't say which side is the left; convert it to NIfTI")
    if kind[1:2] == b"+":
        return header, path
    for suffix in (".img", ".img.gz"):
        data = path.with_name(path.name[: len(path.name) - len(suffix_of(path))] + suffix)
        if data.is_file():
            return header, data
    raise DataError(f"{path}: its voxels are in {stem_of(path)}.img, which isn't there; copy both")


def _shape(header: Any, path: Path) -> tuple[int, int, int, int]:
    """I, J, K and the channels."""
    shape = [int(length) for length in header.get_data_shape()]
    told = "×".join(map(str, shape))
    if min(shape, default=0) < 1:
        raise DataError(f"{path}: damaged: an image of {told or 'no'} voxels; copy or export it again")
    while len(shape) > 3 and shape[-1] == 1:
        shape.pop()
    if len(shape) == 5 and shape[3] == 1:  # a vector for every voxel, and no time
        del shape[3]
    if not 2 <= len(shape) <= 4:
        raise DataError(f"{path}: {told} voxels; a volume has 3 axes, or 4 with channels last: save one of them")
    i, j, k, c = (*shape, 1, 1)[:4] if len(shape) < 4 else shape
    return i, j, k, c


def _type(header: Any, path: Path) -> np.dtype[Any]:
    code = int(header["datatype"])
    try:
        found: np.dtype[Any] = header.get_data_dtype()
    except (HeaderDataError, KeyError):  # a type that no program knows
        found = np.dtype("V")
    if found.kind == "V" and (code not in (RGB, RGBA) or _shape(header, path)[3] > 1):
        what = f"values of type {code}" if code not in (RGB, RGBA) else "colours along 4 axes"
        raise DataError(f"{path}: {what} are no intensities; export it as 16-bit integers or floats")
    return found


def _geometry(header: Any, shape: tuple[int, ...], path: Path) -> tuple[Geometry, dict[str, Any]]:
    """The grid, and what is to be said of it: whether it is located and spaced, and notes."""
    scale = UNITS.get(int(header["xyzt_units"]) & 7, 1.0)
    grid, codes = (shape[0], shape[1], shape[2]), {form: int(header[f"{form}_code"]) for form in ("sform", "qform")}
    forms: dict[str, Geometry | str] = {}
    for form in (form for form, code in codes.items() if code > 0):
        try:
            with np.errstate(invalid="ignore"):  # what is no number is refused below
                affine = np.asarray(header.get_sform() if form == "sform" else header.get_qform(), np.float64)
            affine[:3] *= scale
            forms[form] = Geometry(grid, affine)
        except (ValueError, HeaderDataError) as error:
            forms[form] = str(error)
    for form, geometry in forms.items():
        if isinstance(geometry, str):
            continue
        others = [(name, other) for name, other in forms.items() if name != form]
        notes = []
        for name, other in others:
            apart = other if isinstance(other, str) else geometry.difference(other)
            if apart is not None:
                verb = "can't be used" if isinstance(other, str) else f"differs from the {form}"
                notes.append(f"the {name} {verb} ({apart}); places are the {form}'s")
        return geometry, {"notes": tuple(notes)}
    for form, why in forms.items():
        raise DataError(f"{path}: its {form} is damaged ({why}); write it anew")
    spacing = np.asarray(header["pixdim"][1:4], np.float64) * scale
    spaced = bool(np.isfinite(spacing).all() and (spacing > 0).all())
    note = "names no place in the patient (sform and qform have code 0)"
    if not spaced:
        note += ", and no spacing: lengths are in voxels"
    geometry = Geometry(grid, np.diag([*(spacing if spaced else (1.0, 1.0, 1.0)), 1.0]))
    return geometry, {"located": False, "spaced": spaced, "notes": (note,)}


def _read_voxels(header: Any, data: Path, stored: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """The stored numbers [I, J, K, C]; none of them are read where the file can't hold them."""
    size, wanted = check_file(data), math.prod(shape) * stored.itemsize
    offset = float(header["vox_offset"])
    single = bytes(header["magic"].item())[1:2] == b"+"
    if single and offset == 0:
        offset = header.single_vox_offset
    if not (header.sizeof_hdr if single else 0) <= offset <= 1 << 53:
        raise cut_short(data)
    with _opened(data) as file:
        packed = isinstance(file, gzip.GzipFile)
        if (size * DEFLATE if packed else size) < offset + wanted:
            raise cut_short(data)
        skipped = int(offset)
        while skipped > 0:
            passed = len(file.read(min(skipped, AT_A_TIME)))
            if passed == 0:
                raise cut_short(data)
            skipped -= passed
        numbers = np.empty(math.prod(shape), stored)
        view: Any = numbers.view(np.uint8)
        at = 0
        while at < wanted:
            found = file.readinto(view[at : at + AT_A_TIME])  # type: ignore[attr-defined]  # files and GzipFile have it
            if not found:
                raise cut_short(data)
            at += found
        while packed and file.read(AT_A_TIME):  # only at its end is what was packed compared with the checksum
            pass
    return numbers.reshape(shape, order="F")


def _write_parts(file: Any, header: Any, stored: NDArray[Any]) -> None:
    file.write(header.binaryblock)
    file.write(bytes(4))  # no extensions
    file.write(stored.data)


def _header_for(volume: Volume) -> tuple[Any, bool]:
    """A copy of the volume's header, and True; of a volume from another format one that says the same of its grid."""
    own = isinstance(volume.origin, tuple(HEADERS.values()))
    if own:
        return volume.origin.as_byteswapped("<"), True
    geometry = volume.geometry
    header: Any = HEADERS[540 if max(geometry.shape) > np.iinfo(np.int16).max else 348]()
    header.set_data_shape(geometry.shape)
    code = 1 if volume.located else 0  # 1: as the scanner has it
    header.set_qform(geometry.affine, code=code)
    # A qform has no room for the shear of a tilted gantry: programs that go by it would show the map elsewhere.
    if geometry.difference(Geometry(geometry.shape, header.get_qform(coded=False))) is not None:
        header.set_qform(None, code=0)
    header.set_sform(geometry.affine, code=code)
    header.set_zooms(geometry.spacing)
    header.set_xyzt_units("mm" if volume.spaced else "unknown")
    return header, False
