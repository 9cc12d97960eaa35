"""Which slice of a volume people are shown, where a whole one can't be drawn."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segkit.data.cases import Case
from segkit.data.masks import IGNORE


@dataclass(frozen=True, eq=False)
class ShownSlice:
    """A slice of a volume in the first plane that its model looks at, at the volume's own spacing.

    Attributes:
        case: the volume.
        index: of the slice.
    """

    case: Case
    index: int

    def of(self, maps: NDArray[Any]) -> NDArray[Any]:
        """The slice [..., H, W] of maps that come as one tall picture, [..., I · J, K]."""
        layers = maps.shape[:-2]
        grids = maps.reshape(-1, *self.case.geometry.shape)
        turn = self.case.geometry.turn(self.case.planes[0])
        return np.stack([turn.of(grid)[self.index] for grid in grids]).reshape(*layers, *self._size)

    def picture(self) -> NDArray[np.float32]:
        """The slice as the model sees it but for spacing and neighbours: float32 [H, W, C] in 0..1."""
        stack = self.case.geometry.turn(self.case.planes[0]).of(self.case.values)
        return np.ascontiguousarray(stack[self.index])

    @property
    def _size(self) -> tuple[int, int]:
        _, rows, columns = self.case.geometry.turn(self.case.planes[0]).axes
        return self.case.geometry.shape[rows], self.case.geometry.shape[columns]


def shown_slice(case: Case, target: NDArray[np.uint8], labels: NDArray[np.uint8], background: int | None) -> ShownSlice:
    """The slice with the most wrong voxels; where there are none, the one with the most foreground, or the middle one.

    Args:
        case: the volume.
        target, labels: truth and prediction, as tall pictures: [I · J, K], or [K, I · J, K] for multilabel.
        background: the label that is background, if any.
    """
    counted = target != IGNORE
    wrong = (target != labels) & counted
    inside = counted & (target == 1) if target.ndim == 3 else counted & (target != (background or 0))
    turn = case.geometry.turn(case.planes[0])
    for found in (wrong, inside):
        grid = found.reshape(-1, *case.geometry.shape).any(axis=0)
        per_slice = turn.of(grid).sum(axis=(1, 2))
        if per_slice.any():
            return ShownSlice(case, int(per_slice.argmax()))
    return ShownSlice(case, case.count(case.planes[0]) // 2)
