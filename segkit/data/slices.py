"""How a model looks at volumes: in which planes, with how many neighbours, at what spacing."""

from typing import Literal, get_args

from pydantic import Field

from segkit.checked import Checked

Plane = Literal["axial", "coronal", "sagittal"]
"""A plane that slices lie in."""
PLANES: tuple[Plane, ...] = get_args(Plane)


class Slices(Checked):
    """What of a volume a model is shown at a time.

    Attributes:
        planes: of the slices; where there are several, the model sees slices of each, and what it says is averaged.
            In an oblique volume a plane is the closest one of its grid.
        neighbours: slices before and behind each that are shown with it as further channels, ("2.5-D"); at the ends
            the last one is repeated.
        spacing: millimetres that the pixels of a slice are brought to; None: as they are.
    """

    planes: tuple[Plane, ...] = Field(default=("axial",), min_length=1, description="axial, coronal, sagittal")
    neighbours: int = Field(default=0, ge=0, le=16, description="slices before and behind that are further channels")
    spacing: float | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        description="mm that slices' pixels are brought to; null: as they are",
    )

    @property
    def shown(self) -> int:
        """Slices that the model sees at a time."""
        return 2 * self.neighbours + 1
