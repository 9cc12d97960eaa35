"""One grid for slices that say one by one where they are; slices that are on none are refused."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segkit.data.geometry import Geometry
from segkit.errors import DataError
from segkit.medical.dicom_frames import LPS
from segkit.medical.dicom_slices import Slice

STEP = 0.01  # of a step: what slices may be further from or nearer to their neighbours than others
MILLIMETRES = 0.01  # the same where a hundredth of a step is less: positions are rounded when they are written
DRIFT = 0.1  # of a step: how far a slice may be from where equal steps would put it
SHEAR = 0.1  # degrees


@dataclass(frozen=True, eq=False)
class Grid:
    """Slices on a grid.

    Attributes:
        slices: in the order of K, which rises along the normal I × J.
        geometry: I along rows, J along columns, K through the slices.
        notes: what a user should know about it.
    """

    slices: tuple[Slice, ...]
    geometry: Geometry
    notes: tuple[str, ...]


def grid_of(slices: Sequence[Slice]) -> Grid:
    """The grid of located, parallel slices of one size, each at a place of its own.

    Slices that are shifted sideways by the same step each, as a tilted gantry does, are on a sheared grid.

    Raises:
        DataError: steps differ: slices are missing, or lie unevenly.
    """
    placed = [(each, each.place) for each in slices if each.place is not None]
    normal = placed[0][1].normal
    placed.sort(key=lambda pair: float(pair[1].corner @ normal))
    ordered, places = tuple(each for each, _ in placed), [place for _, place in placed]
    if len(placed) > 1:
        step, notes = _step(ordered, np.stack([place.corner for place in places]), normal)
    else:
        step, notes = _thickness(ordered[0], normal)
    first = places[0]
    columns, rows, _ = ordered[0].size
    affine = np.eye(4)
    affine[:3] = np.column_stack(
        [first.along[0] * first.spacing[0], first.along[1] * first.spacing[1], step, first.corner]
    )
    affine[:3] *= LPS[:, None]  # LPS+ → RAS+
    return Grid(ordered, geometry_of((columns, rows, len(ordered)), affine, ordered[0]), notes)


def geometry_of(shape: tuple[int, int, int], affine: NDArray[np.float64], image: Slice) -> Geometry:
    """A grid; DataError where an image's numbers make none."""
    try:
        return Geometry(shape, affine)
    except ValueError as error:
        raise DataError(f"{image}: spacings or positions that make no grid; export the series again") from error


def _thickness(only: Slice, normal: NDArray[np.float64]) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """The step of a single slice: to where a next one would be."""
    thickness = only.thickness
    if thickness is None:
        return normal, ("a single slice that doesn't say how thick it is: 1 mm is taken",)
    return normal * thickness, ()


def _step(
    slices: Sequence[Slice], corners: NDArray[np.float64], normal: NDArray[np.float64]
) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """The step [3] between slices whose first pixels are at corners [K, 3], ordered along the normal."""
    steps = np.diff(corners, axis=0)
    lengths = np.linalg.norm(steps, axis=1)
    usual = steps[np.argsort(lengths, kind="stable")[(len(steps) - 1) // 2]]  # of two the shorter: gaps are long
    length = float(np.linalg.norm(usual))
    allowed = max(STEP * length, MILLIMETRES)
    off = np.linalg.norm(steps - usual, axis=1)
    if off.max() > allowed:
        worst = int(off.argmax())
        raise DataError(_uneven(slices, corners @ normal, worst, float(lengths[worst]), length))
    step = (corners[-1] - corners[0]) / (len(corners) - 1)
    drift = np.linalg.norm(corners - corners[0] - np.arange(len(corners))[:, None] * step, axis=1)
    if drift.max() > max(DRIFT * length, MILLIMETRES):
        worst = int(drift.argmax())
        raise DataError(
            f"{slices[worst]}: its series' steps drift: it is {drift[worst]:.3g} mm from where equal steps of "
            f"{length:.4g} mm would put it; export the series again"
        )
    notes = []
    lean = float(np.degrees(np.arccos(np.clip(abs(step @ normal) / np.linalg.norm(step), 0, 1))))
    if lean > SHEAR:
        notes.append(f"its slices are shifted sideways, by {lean:.1f}° as with a tilted gantry; its affine keeps that")
    said = slices[0].numbers("SpacingBetweenSlices", 1)
    apart = float(abs(step @ normal))
    if said is not None and abs(abs(said[0]) - apart) > max(STEP * length, MILLIMETRES):
        notes.append(
            f"SpacingBetweenSlices says {abs(said[0]):.4g} mm, the slices' positions {apart:.4g} mm: these are taken"
        )
    return step, tuple(notes)


def _uneven(slices: Sequence[Slice], distances: NDArray[np.float64], worst: int, found: float, usual: float) -> str:
    low, high = distances[worst], distances[worst + 1]
    missing = round(found / usual) - 1
    guess = "they lie unevenly"
    if missing > 0 and abs(found / usual - missing - 1) < DRIFT:
        guess = f"{missing} slice{'s are' if missing > 1 else ' is'} missing there"
    return (
        f"{slices[worst]}: the step to the next slice, {slices[worst + 1].name}, is {found:.4g} mm, that of the "
        f"others {usual:.4g} mm (from {low:.2f} to {high:.2f} mm along their normal): {guess}; export the series "
        "again, whole"
    )
