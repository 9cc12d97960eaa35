"""One way to read a volume, whatever its format."""

from dataclasses import replace
from pathlib import Path

from segkit.data.claims import LIMIT
from segkit.data.listing import is_dicom
from segkit.data.suffixes import TIFF, VOLUMES, suffix_of
from segkit.data.volume import Volume
from segkit.errors import DataError
from segkit.medical.itk_header import META, NRRD

NIFTI, PAIR = (".nii", ".nii.gz"), (".hdr", ".img")


def read_volume(path: str | Path, *, limit: int = LIMIT) -> Volume:
    """Return the volume of a NIfTI, NRRD or MetaImage file, of a TIFF's pages, or of a DICOM file or series.

    Args:
        path: a file; a folder for a DICOM series, which must be the only one in it.
        limit: bytes that its values may take.

    Raises:
        DataError: it is missing, damaged, of another kind, takes more than the limit, or holds several series.
    """
    path = Path(path)
    suffix = "" if path.is_dir() else suffix_of(path)
    if suffix in NIFTI or suffix in PAIR:
        from segkit.medical.nifti import read_nifti

        return read_nifti(path.with_suffix(".hdr") if suffix == ".img" else path, limit=limit)
    if suffix in NRRD or suffix in META:
        from segkit.medical.itk import read_itk

        return read_itk(path, limit=limit)
    if suffix in TIFF:
        from segkit.medical.stack import read_stack

        return read_stack(path, limit=limit)
    if path.is_dir() or is_dicom(path):
        return _read_dicom(path, limit)
    if not path.exists():
        raise DataError(f"{path}: no such file")
    known = ", ".join((*VOLUMES, *TIFF))
    raise DataError(f"{path}: no volume that is read here ({known}, or a folder of a DICOM series)")


def _read_dicom(path: Path, limit: int) -> Volume:
    from segkit.medical.dicom_series import find_series
    from segkit.medical.dicom_volume import read_series

    if not path.exists():
        raise DataError(f"{path}: no such file")
    found = find_series(path, limit=limit)
    if len(found.series) > 1:
        raise DataError(
            f"{path}: holds {len(found.series)} DICOM series; one is expected: name its files, or put each series "
            "into a folder of its own"
        )
    left_out = [f"{each.path.name}: {each.why}" for each in found.left_out]
    if not found.series and not path.is_dir():
        raise DataError(f"{path}: {found.left_out[0].why}")
    if not found.series:
        raise DataError(f"{path}: holds no DICOM series" + (f": {left_out[0]}" if left_out else ""))
    volume = read_series(found.series[0], limit=limit)
    return replace(volume, notes=(*volume.notes, *(f"left out: {each}" for each in left_out)))
