"""A volume: voxels, where they are, and what its masks are written like."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from segkit.data.geometry import Geometry


@dataclass(frozen=True, eq=False)
class Volume:
    """Values on a grid in space; a single slice is a volume with one.

    Attributes:
        name: the case's, which outputs are named after; it identifies nobody.
        values: [I, J, K, C], in the units of the modality (rescaled: Hounsfield units of CT); uint8, int16, uint16 or
            float32.
        geometry: where its voxels are.
        path: the file, or the folder of a series' files.
        files: all files that it was read from.
        located: whether the file says where it is in the patient; a stack of pictures has spacings at most.
        spaced: whether the file says how far apart its voxels are; without, they count as 1 mm, and lengths are in
            voxels.
        voi: (low, high) that the file itself would be shown with, if it says so.
        origin: what the writer of its format needs to give masks the same geometry: a NIfTI header, a DICOM series'
            data sets in the order of K, what a stack of TIFF pages says of itself.
        notes: what was decided on reading that a user should know.
    """

    name: str
    values: NDArray[Any]
    geometry: Geometry
    path: Path
    files: tuple[Path, ...] = ()
    located: bool = True
    spaced: bool = True
    voi: tuple[float, float] | None = None
    origin: Any = field(default=None, repr=False)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.values.ndim != 4 or self.values.shape[:3] != self.geometry.shape:
            raise ValueError(f"values {self.values.shape} on a grid {self.geometry.shape}")

    @property
    def channels(self) -> int:
        """C."""
        return int(self.values.shape[3])
