"""How much of each class a mask shows, where, in how many pieces and how large, in physical units where it can be."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from segkit.measuring.distance import largest_distance
from segkit.measuring.stretches import Stretches, stretches_in
from segkit.task import Task

if TYPE_CHECKING:
    from segkit.data.geometry import Geometry

VALUES = 1 << 22  # of a mask looked at at a time: it may be a file
MOST = 1 << 22  # stretches of a class that components are made of; they take up to 400 bytes each


@dataclass(frozen=True)
class ClassMeasures:
    """What a mask shows of one class.

    Attributes:
        name: of the class.
        dimensions: 2 of a picture, 3 of a volume.
        count: its pixels, or voxels.
        share: of all pixels, 0..1.
        unit_size: mm² of a pixel or mm³ of a voxel; None where the spacing isn't known.
        components: pieces of it, whose pixels touch by a side, an edge or a corner (8 or 26 neighbours); None where
            they weren't counted, see ``note``.
        largest: pixels of the largest component.
        diameter: the largest distance between the centres of two pixels of one component: mm where the spacing is
            known, else the pixels of a picture, and None of a volume. None where there are no components.
        axial_diameter: the largest distance in mm between the centres of two voxels of one component in one and the
            same axial slice (of an oblique volume: slice of the stack nearest to axial), which may lead across a gap;
            None where the place in the patient isn't known.
        mean_probability: of the class, over its pixels; None where it has none.
        centroid: the mean of its pixels' places: x and y of a picture, in pixels, 0 at the centre of the first; mm to
            the patient's right, front and top of a located volume; i, j and k of another volume, in voxels. None where
            it has no pixels.
        located: whether the volume's place in the patient is known.
        note: why something isn't known, for people.
    """

    name: str
    dimensions: int
    count: int
    share: float
    unit_size: float | None
    components: int | None
    largest: int | None
    diameter: float | None
    axial_diameter: float | None
    mean_probability: float | None
    centroid: tuple[float, ...] | None
    located: bool = False
    note: str | None = None


def measure(
    labels: NDArray[np.uint8],
    probabilities: NDArray[np.float32],
    *,
    classes: Sequence[str],
    task: Task,
    background: int | None,
    spacing: Sequence[float] | None = None,
    geometry: "Geometry | None" = None,
) -> list[ClassMeasures]:
    """The measures of each class but the background, in the classes' order; both arrays may be memory maps.

    They are read once, in parts. Beyond these, memory goes by the length of the outlines, not by the number of pixels.

    Args:
        labels: ids [H, W] of a picture or [I, J, K] of a volume; 0/1 maps [K, …] for multilabel.
        probabilities: [K, …], one map for binary.
        classes: their names; of a binary task the last is the foreground.
        task: binary, multilabel or multiclass.
        background: the id that is background, if any; without meaning for binary.
        spacing: millimetres from one pixel to the next along each axis; None where they aren't known.
        geometry: of a volume whose place in the patient is known; the spacing then comes from it.
    """
    shape = labels.shape[1:] if task == "multilabel" else labels.shape
    grid = _Grid.of(shape, spacing, geometry)
    if task == "binary":
        found = {1: _Found(classes[-1], 0)}
    else:
        found = {k: _Found(name, k) for k, name in enumerate(classes) if k != background}
    if task == "multilabel":
        for k, each in found.items():
            _look(labels[k], probabilities, {1: each}, grid)
    else:
        _look(labels, probabilities, found, grid)
    return [_measures(each, grid) for each in found.values()]


@dataclass(frozen=True, eq=False)
class _Grid:
    """The axes in the order they are gone through, and what steps along them are in millimetres.

    Attributes:
        shape: of the array, its axes in that order.
        axes: the array's axis for each; the first is that of the axial slices where these are known.
        steps: [D, D], its columns are the steps; None where the spacing isn't known.
        origin: where index 0 is, in the patient; None where that isn't known.
    """

    shape: tuple[int, ...]
    axes: tuple[int, ...]
    steps: NDArray[np.float64] | None
    origin: NDArray[np.float64] | None

    @classmethod
    def of(cls, shape: tuple[int, ...], spacing: Sequence[float] | None, geometry: "Geometry | None") -> "_Grid":
        if geometry is not None:
            axes = geometry.turn("axial").axes
            steps = geometry.affine[:3, :3][:, list(axes)]
            return cls(tuple(shape[axis] for axis in axes), axes, steps, geometry.affine[:3, 3])
        known = None if spacing is None else np.diag(np.asarray(spacing, np.float64))
        return cls(shape, tuple(range(len(shape))), known, None)

    @property
    def unit_size(self) -> float | None:
        return None if self.steps is None else float(abs(np.linalg.det(self.steps)))


@dataclass(eq=False)
class _Found:
    """What was seen of a class so far; its stretches are None once they are too many."""

    name: str
    map: int
    count: int = 0
    probability: float = 0.0
    places: NDArray[np.float64] | float = 0.0  # sum of the indices
    stretches: list[Stretches] | None = field(default_factory=list)
    held: int = 0  # stretches in there

    def add(self, new: Stretches, probability: float) -> None:
        sizes = new.sizes
        self.count += int(sizes.sum())
        self.probability += probability
        self.places = self.places + (sizes[:, None] * new.ends().mean(0)).sum(0)
        if self.stretches is not None:
            self.stretches.append(new)
            self.held += len(new)
            if self.held > MOST:
                self.stretches = None


def _look(labels: NDArray[np.uint8], probabilities: NDArray[np.float32], found: dict[int, _Found], grid: _Grid) -> None:
    """Go through labels, and add what there is of each id in ``found``."""
    labels = labels.transpose(grid.axes)
    for top, part in _parts(labels):
        ids, stretches = stretches_in(part, top, grid.shape)
        for label in np.unique(ids).tolist():
            if label in found:
                each = found[label]
                values = probabilities[each.map].transpose(grid.axes)[top : top + len(part)]
                probability = float(np.asarray(values)[part == label].sum(dtype=np.float64))
                each.add(stretches.of(ids == label), probability)


def _parts(labels: NDArray[np.uint8]) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    together = max(1, VALUES // max(1, int(np.prod(labels.shape[1:]))))
    for top in range(0, len(labels), together):
        yield top, np.ascontiguousarray(labels[top : top + together])


def _measures(found: _Found, grid: _Grid) -> ClassMeasures:
    pieces: dict[str, Any] = {"components": None, "largest": None, "diameter": None, "axial_diameter": None}
    note = None
    if found.count == 0:
        pieces |= {"components": 0, "largest": 0}
    elif found.stretches is None:
        note = f"components and diameters not looked for: {found.name} is in too many small pieces"
    else:
        pieces |= _pieces(found.stretches, grid)
    return ClassMeasures(
        name=found.name,
        dimensions=len(grid.shape),
        count=found.count,
        share=found.count / int(np.prod(grid.shape, dtype=np.int64)),
        unit_size=grid.unit_size,
        mean_probability=found.probability / found.count if found.count else None,
        centroid=_centroid(found, grid) if found.count else None,
        located=grid.origin is not None,
        note=note,
        **pieces,
    )


def _pieces(parts: list[Stretches], grid: _Grid) -> dict[str, Any]:
    """Components, the pixels of the largest, and both diameters."""
    line, first, last = (np.concatenate([getattr(part, key) for part in parts]) for key in ("line", "first", "last"))
    whole = Stretches(grid.shape, line, first, last)
    count, which = whole.components()
    pieces: dict[str, Any] = {
        "components": count,
        "largest": int(np.bincount(which, weights=whole.sizes).max()),
        "diameter": None,
        "axial_diameter": None,
    }
    if grid.steps is None and len(grid.shape) == 3:
        return pieces  # voxels whose spacing isn't known are no measure of length: they are seldom cubes
    ends, groups = whole.ends().reshape(-1, len(grid.shape)), np.tile(which, 2)
    steps = np.eye(2) if grid.steps is None else grid.steps
    pieces["diameter"] = largest_distance(ends, groups, steps)
    if grid.origin is not None:
        # The slice is the same within a group, so that the first of the steps adds nothing to a distance.
        pieces["axial_diameter"] = largest_distance(ends, ends[:, 0] * count + groups, steps)
    return pieces


def _centroid(found: _Found, grid: _Grid) -> tuple[float, ...]:
    mean = np.asarray(found.places) / found.count
    if grid.steps is not None and grid.origin is not None:
        place = grid.steps @ mean + grid.origin
    elif len(grid.shape) == 2:
        place = mean[::-1]
    else:
        place = mean
    return tuple(float(value) for value in place)
