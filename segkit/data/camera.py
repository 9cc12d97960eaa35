"""A pinhole camera's numbers, and how one camera stands to another; as ``dataset.yaml`` gives them."""

from typing import Annotated

import numpy as np
from pydantic import AfterValidator, Field

from segkit.checked import Checked

FARTHEST = 10.0  # metres between the two cameras of a rig; more is a matrix in millimetres
RIGID = 1e-3  # how far a rotation's rows may be from unit length and right angles: matrices are often typed off


class Intrinsics(Checked):
    """How a camera maps directions to pixels: u = fx · X / Z + cx, v = fy · Y / Z + cy.

    Args:
        fx, fy: focal lengths in pixels, above 0.
        cx, cy: the principal point in pixels; the centre of the top left pixel is (0, 0).
    """

    fx: float = Field(gt=0)
    fy: float = Field(gt=0)
    cx: float
    cy: float


Row = tuple[float, float, float, float]


def _rigid(rows: tuple[Row, ...]) -> tuple[Row, ...]:
    """The upper three rows of a motion; ValueError where it is none."""
    matrix = np.array(rows)
    if len(rows) == 4 and rows[3] != (0, 0, 0, 1):
        raise ValueError(f"expected the last of four rows to be [0, 0, 0, 1], found {list(rows[3])}")
    turn = matrix[:3, :3]
    if np.abs(turn @ turn.T - np.eye(3)).max() > RIGID or np.linalg.det(turn) < 0:
        raise ValueError("expected a rotation in the first three columns: rows of length 1 at right angles, no mirror")
    apart = float(np.linalg.norm(matrix[:3, 3]))
    if apart > FARTHEST:
        raise ValueError(f"the cameras would be {apart:g} m apart; the last column is in metres")
    return rows[:3]


Motion = Annotated[tuple[Row, ...], Field(min_length=3, max_length=4), AfterValidator(_rigid)]
"""A rotation and a shift in metres, 3 × 4 (or 4 × 4 with a last row of 0 0 0 1): from one camera's space to another's.

Each camera's X points to the right, Y down and Z to what it looks at.
"""
