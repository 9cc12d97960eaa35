"""What the values in a dataset's depth files mean, as ``dataset.yaml`` and saved models say it."""

import re
from fractions import Fraction
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, FiniteFloat, model_validator

from segkit.checked import Checked

UNITS = "mm, m, so many of them such as 0.1mm, disparity or relative"


def values_per_metre(unit: str) -> float | None:
    """How many steps of a unit of length are a metre: 5000 of ``0.2mm``; None of what is no such unit."""
    found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)?(mm|m)", unit)
    if not found or not (many := Fraction(found[1] or 1)):
        return None
    return float({"mm": 1000, "m": 1}[found[2]] / many)


def _known(unit: Any) -> Any:
    if not isinstance(unit, str) or (unit not in ("disparity", "relative") and values_per_metre(unit) is None):
        raise ValueError(f"expected {UNITS}")
    return unit


Unit = Annotated[str, BeforeValidator(_known)]


class DepthFormat(Checked):
    """What the values of a dataset's depth files mean.

    Args:
        unit: of metric depth ``mm``, ``m``, so many of them (``0.1mm``; ``0.2mm`` where files hold 5000 a metre), or
            ``disparity`` (in pixels, of a stereo pair); ``relative`` is everything else (disparity in no unit, thermal,
            elevation, another MR sequence), with any number of channels whose values stay as they are in the file.
        invalid: values in the file that mean "not measured". NaN and infinity always do, and of metric depth whatever
            is 0 or negative, or 100 km and more. Of several channels all must hold such a value, or one of them NaN or
            infinity.
        focal_baseline: for ``disparity`` and nothing else: focal length in pixels × baseline in metres, so that metres
            = focal_baseline / disparity. Where files hold a multiple of the disparity (KITTI's 256), so must this.
    """

    unit: Unit
    invalid: tuple[FiniteFloat, ...] = (0.0,)
    focal_baseline: float | None = Field(default=None, gt=0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _baseline_for_disparity(self) -> "DepthFormat":
        if self.unit == "disparity" and self.focal_baseline is None:
            raise ValueError("disparity needs focal_baseline: focal length in pixels × baseline in metres")
        if self.unit != "disparity" and self.focal_baseline is not None:
            raise ValueError(f"focal_baseline is for disparity; the unit is {self.unit}")
        return self

    @property
    def metric(self) -> bool:
        """Whether values become metres, so that zooming a picture by s divides them by s."""
        return self.unit != "relative"
