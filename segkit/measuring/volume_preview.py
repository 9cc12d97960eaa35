"""A picture of what was found in a volume: three planes through it, hung as radiologists do, and slices of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from segkit.data.geometry import Geometry
from segkit.data.slices import PLANES, Plane
from segkit.measuring.preview import areas, filled, outlined
from segkit.measuring.stretches import stretches_in
from segkit.task import Task

WIDTH = 1200  # pixels of the first row at most
TALLEST = 420  # pixels of a slice at most
MARGIN = 22  # pixels around a slice, which its letters are in
SLICES = 6
MOST = 1 << 22  # stretches of the foreground that its largest piece is looked for in
INK = (205, 205, 205)
OPPOSITE = {"L": "R", "R": "L", "A": "P", "P": "A", "S": "I", "I": "S"}


def draw_volume_preview(
    values: NDArray[np.float32],
    labels: NDArray[np.uint8],
    geometry: Geometry,
    palette: NDArray[np.uint8],
    background: int | None,
    task: Task,
    *,
    located: bool = True,
) -> NDArray[np.uint8]:
    """RGB uint8 [h, w, 3]: an axial, a coronal and a sagittal slice, and below up to six slices of the stack.

    The three lead through the middle of the largest piece of what was found (the volume's where there is nothing), at
    one scale, with letters where the patient's right, left, front (A), back (P), head (S) and feet (I) are. The six are
    of the plane with the widest spacing, evenly spread from where something was found first to where it was last, each
    with its number, from 1, in the order of the file. A plane that would be a single line isn't drawn.

    Args:
        values: [I, J, K] or [I, J, K, C], in 0..1.
        labels: ids [I, J, K], or 0/1 maps [K, I, J, K] for multilabel.
        geometry: where the voxels are.
        palette: uint8 [labels, 3].
        background: the id that is background, if any.
        task: binary, multilabel or multiclass.
        located: whether the patient's sides are known; there are no letters otherwise.
    """
    shown = _Shown(values.reshape(*geometry.shape, -1), labels, geometry, palette, background, task == "multilabel")
    planes = [plane for plane in PLANES if 1 not in shown.size(plane)] or list(PLANES)
    lengths = [shown.lengths(plane) for plane in planes]
    room = WIDTH - 2 * MARGIN * len(planes)
    scale = min(room / sum(width for _, width in lengths), TALLEST / max(height for height, _ in lengths))
    first = []
    for plane in planes:
        letters = shown.letters(plane) if located else {}
        first.append(_framed(shown.slice(plane, shown.middle[shown.axis(plane)], scale), **letters))
    rows = [_beside(first)]
    stack = max(planes, key=lambda plane: round(geometry.spacing[shown.axis(plane)], 2))  # of equals the first
    numbers = shown.spread(stack)
    if len(numbers) > 1:
        height, width = shown.lengths(stack)
        room = max(rows[0].shape[1] - 2 * MARGIN * len(numbers), 64 * len(numbers))
        scale = min(room / (len(numbers) * width), TALLEST / 2 / height)
        count = geometry.shape[shown.axis(stack)]
        rows.append(
            _beside([_framed(shown.slice(stack, number, scale), below=f"{number + 1} / {count}") for number in numbers])
        )
    return _stacked(rows)


@dataclass(frozen=True, eq=False)
class _Shown:
    """A volume [I, J, K, C] and what was found in it; slices go by their index along the volume's own axis."""

    values: NDArray[np.float32]
    labels: NDArray[np.uint8]
    geometry: Geometry
    palette: NDArray[np.uint8]
    background: int | None
    multilabel: bool

    def axis(self, plane: Plane) -> int:
        """The volume's axis that a plane's slices follow one another along."""
        return self.geometry.turn(plane).axes[0]

    def size(self, plane: Plane) -> tuple[int, int]:
        """Rows and columns of a slice."""
        _, rows, columns = self.geometry.turn(plane).axes
        return self.geometry.shape[rows], self.geometry.shape[columns]

    def lengths(self, plane: Plane) -> tuple[float, float]:
        """Height and width of a slice in millimetres."""
        _, rows, columns = self.geometry.turn(plane).axes
        height, width = self.size(plane)
        return height * self.geometry.spacing[rows], width * self.geometry.spacing[columns]

    def letters(self, plane: Plane) -> dict[str, str]:
        """Which side of the patient is on which side of a slice."""
        turn = self.geometry.turn(plane)
        below, right = (
            OPPOSITE[self.geometry.orientation[axis]] if back else self.geometry.orientation[axis]
            for axis, back in zip(turn.axes[1:], turn.reverse[1:], strict=True)
        )
        return {"above": OPPOSITE[below], "below": below, "left": OPPOSITE[right], "right": right}

    @cached_property
    def foreground(self) -> NDArray[np.bool_]:
        """Where anything was found, [I, J, K]; nowhere, if no label is background."""
        found = np.zeros(self.geometry.shape, np.bool_)
        if self.multilabel:
            self.labels.any(0, out=found)
        elif self.background is not None:
            np.not_equal(self.labels, self.background, out=found)
        return found

    @cached_property
    def middle(self) -> tuple[int, ...]:
        """The voxel of the largest piece of the foreground that is nearest to the piece's centre."""
        ids, every = stretches_in(self.foreground.view(np.uint8), 0, self.geometry.shape)
        found = every.of(ids == 1)
        if not 0 < len(found) <= MOST:
            return tuple(count // 2 for count in self.geometry.shape)
        _, which = found.components()
        piece = found.of(which == np.bincount(which, weights=found.sizes).argmax())
        ends, sizes = piece.ends(), piece.sizes
        centre = (sizes[:, None] * ends.mean(0)).sum(0) / sizes.sum()
        nearest = ends[0].copy()
        nearest[:, 2] = np.rint(centre[2]).clip(piece.first, piece.last)
        apart = np.linalg.norm((nearest - centre) * self.geometry.spacing, axis=1)
        return tuple(int(index) for index in nearest[apart.argmin()])

    def spread(self, plane: Plane) -> list[int]:
        """Some slices in the order that they hang in, from the first to the last that something was found in."""
        turn = self.geometry.turn(plane)
        holding = np.flatnonzero(self.foreground.any(axis=turn.axes[1:]))
        first, last = (holding[0], holding[-1]) if len(holding) else (0, self.geometry.shape[turn.axes[0]] - 1)
        indices: list[int] = np.unique(np.linspace(first, last, SLICES).round().astype(int)).tolist()
        return indices[::-1] if turn.reverse[0] else indices

    def slice(self, plane: Plane, index: int, scale: float) -> NDArray[np.uint8]:
        """A slice, as it hangs, at ``scale`` pixels a millimetre: RGB uint8 [h, w, 3]."""
        turn = self.geometry.turn(plane)

        def hung(volume: NDArray[Any]) -> NDArray[Any]:  # [I, J, K, …] → [H, W, …]
            only = volume[(slice(None),) * turn.axes[0] + (slice(index, index + 1),)]
            slices: list[NDArray[Any]] = list(turn.of(only))
            return slices[0]

        height, width = (max(1, round(length * scale)) for length in self.lengths(plane))
        channels = 3 if self.values.shape[3] >= 3 else 1
        image = _resized(hung(self.values[..., :channels]), height, width, cv2.INTER_LINEAR)
        labels = np.stack([hung(each) for each in self.labels]) if self.multilabel else hung(self.labels)
        layers = [
            (_resized(area, height, width, cv2.INTER_NEAREST)[..., 0], self.palette[label])
            for label, area in areas(labels, self.background, multilabel=self.multilabel)
        ]
        return outlined(filled(image, layers), [(shares >= 0.5, colour) for shares, colour in layers])


def _resized(values: NDArray[Any], height: int, width: int, enlarging: int) -> NDArray[np.float32]:
    """[H, W] or [H, W, C] → float32 [height, width, C]; sides get shorter by the mean of what they lose."""
    values = np.ascontiguousarray(values, np.float32)
    smaller = (min(width, values.shape[1]), min(height, values.shape[0]))
    small = cv2.resize(values, smaller, interpolation=cv2.INTER_AREA)
    large = cv2.resize(small, (width, height), interpolation=enlarging)
    return np.asarray(large, np.float32).reshape(height, width, -1)


def _framed(
    picture: NDArray[np.uint8], *, above: str = "", below: str = "", left: str = "", right: str = ""
) -> NDArray[np.uint8]:
    """A picture within a black margin, with words in the middle of its sides."""
    height, width = picture.shape[:2]
    frame = np.zeros((height + 2 * MARGIN, width + 2 * MARGIN, 3), np.uint8)
    frame[MARGIN:-MARGIN, MARGIN:-MARGIN] = picture
    middle, centre, half = height / 2 + MARGIN, width / 2 + MARGIN, MARGIN / 2
    places = ((above, half, centre), (below, middle * 2 - half, centre), (left, middle, half))
    for word, y, x in (*places, (right, middle, centre * 2 - half)):
        (wide, high), _ = cv2.getTextSize(word, cv2.FONT_HERSHEY_SIMPLEX, 0.45, 1)
        corner = (round(x - wide / 2), round(y + high / 2))
        cv2.putText(frame, word, corner, cv2.FONT_HERSHEY_SIMPLEX, 0.45, INK, 1, cv2.LINE_AA)
    return frame


def _beside(pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Pictures in a row, in the middle of its height."""
    height = max(len(picture) for picture in pictures)
    row = np.zeros((height, sum(picture.shape[1] for picture in pictures), 3), np.uint8)
    left = 0
    for picture in pictures:
        top = (height - len(picture)) // 2
        row[top : top + len(picture), left : left + picture.shape[1]] = picture
        left += picture.shape[1]
    return row


def _stacked(rows: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Rows below one another, in the middle of the width."""
    return np.ascontiguousarray(_beside([row.transpose(1, 0, 2) for row in rows]).transpose(1, 0, 2))
