"""Where the voxels of a volume are, and how its slices are looked at."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segkit.data.slices import PLANES, Plane

# From the array [x, y, z] with x to the left, y to the back and z to the top: which axes become slices, rows and
# columns, and which of these three are turned round. Pictures are as radiologists hang them: the patient's right is
# on the left, anterior or superior is up, and a sagittal slice looks to the left.
HUNG: dict[Plane, tuple[tuple[int, int, int], tuple[bool, bool, bool]]] = {
    "axial": ((2, 1, 0), (False, False, False)),
    "coronal": ((1, 2, 0), (False, True, False)),
    "sagittal": ((0, 2, 1), (False, True, False)),
}


@dataclass(frozen=True)
class Turn:
    """Axes of a volume, exchanged and turned round: [I, J, K, …] → slices, rows, columns.

    Attributes:
        axes: which axis of the volume becomes slices, rows and columns.
        reverse: which of these are turned round.
    """

    axes: tuple[int, int, int]
    reverse: tuple[bool, bool, bool]

    def of(self, values: NDArray[Any]) -> NDArray[Any]:
        """A view [N, H, W, …] of [I, J, K, …]."""
        turned = values.transpose(*self.axes, *range(3, values.ndim))
        return turned[tuple(slice(None, None, -1 if back else None) for back in self.reverse)]


@dataclass(frozen=True, eq=False)
class Geometry:
    """The grid of a volume in space.

    Attributes:
        shape: I, J and K.
        affine: float64 [4, 4]; from the indices (i, j, k, 1) of a voxel's centre to millimetres to the patient's
            right, front and top (RAS+, as NIfTI and nibabel have it; DICOM's and ITK's x and y are the opposite).
    """

    shape: tuple[int, int, int]
    affine: NDArray[np.float64]

    def __post_init__(self) -> None:
        if self.affine.shape != (4, 4) or not np.isfinite(self.affine).all():
            raise ValueError("the affine must be 4 × 4 finite numbers")
        lengths = np.linalg.norm(self.affine[:3, :3], axis=0)
        # By directions, not by lengths: a voxel of a microscope's is a billionth of one of a scanner's.
        if not lengths.all() or abs(np.linalg.det(self.affine[:3, :3] / lengths)) < 1e-6:
            raise ValueError("the affine has no volume: two of its axes point the same way, or a spacing is zero")

    @cached_property
    def spacing(self) -> tuple[float, float, float]:
        """Millimetres from one voxel to the next along I, J and K."""
        i, j, k = (float(length) for length in np.linalg.norm(self.affine[:3, :3], axis=0))
        return i, j, k

    @property
    def orientation(self) -> str:
        """Where I, J and K lead to, by the closest letters of L/R, P/A and I/S: ``"RAS"``."""
        from nibabel.orientations import aff2axcodes

        return "".join(str(letter) for letter in aff2axcodes(self.affine))

    def turn(self, plane: Plane) -> Turn:
        """How the volume's slices in a plane come to hang as radiologists hang them; oblique ones by their closest."""
        return self._turns[plane]

    @cached_property
    def _turns(self) -> dict[Plane, Turn]:
        return {plane: self._turn(plane) for plane in PLANES}

    def _turn(self, plane: Plane) -> Turn:
        from nibabel.orientations import io_orientation

        nearest = io_orientation(self.affine)  # of each axis: that of RAS, and its direction
        order, reverse = HUNG[plane]
        axes = [int(np.flatnonzero(nearest[:, 0] == axis)[0]) for axis in order]
        # Of LPS, which hanging goes by, x and y are opposite to those of RAS.
        to_lps = [-1, -1, 1]
        backwards = [nearest[axis, 1] * to_lps[lps] < 0 for axis, lps in zip(axes, order, strict=True)]
        flips = [bool(back != extra) for back, extra in zip(backwards, reverse, strict=True)]
        return Turn((axes[0], axes[1], axes[2]), (flips[0], flips[1], flips[2]))

    def points(self, indices: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Millimetres [N, 3] (RAS+) of voxel indices [N, 3]."""
        return np.asarray(indices) @ self.affine[:3, :3].T + self.affine[:3, 3]

    def difference(self, other: "Geometry") -> str | None:
        """In words, what sets two grids apart; None where no corner is further than a tenth of a voxel from its own."""
        if self.shape != other.shape:
            return f"shapes {_times(self.shape)} and {_times(other.shape)} voxels"
        corners = np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)]) * (np.array(self.shape) - 1)
        apart = float(np.linalg.norm(self.points(corners) - other.points(corners), axis=1).max())
        if apart <= 0.1 * min(self.spacing):
            return None
        if self.orientation != other.orientation:
            return f"orientations {self.orientation} and {other.orientation}"
        if not np.allclose(self.spacing, other.spacing, rtol=1e-3):
            return f"spacings {_millimetres(self.spacing)} and {_millimetres(other.spacing)} mm"
        return f"places up to {apart:.3g} mm apart"


def _times(numbers: Sequence[int]) -> str:
    return "×".join(str(number) for number in numbers)


def _millimetres(numbers: Sequence[float]) -> str:
    return " × ".join(f"{number:.4g}" for number in numbers)
