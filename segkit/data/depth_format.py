"""What the values in a dataset's depth files mean, as ``dataset.yaml`` and saved models say it."""

from typing import Literal

from pydantic import Field, FiniteFloat, model_validator

from segkit.checked import Checked

Unit = Literal["mm", "m", "0.1mm", "disparity", "relative"]


class DepthFormat(Checked):
    """What the values of a dataset's depth files mean.

    Args:
        unit: of metric depth ``mm``, ``m``, ``0.1mm`` or ``disparity`` (in pixels, of a stereo pair); ``relative`` is
            everything else (disparity in no unit, thermal, elevation, another MR sequence), with any number of
            channels whose values stay as they are in the file.
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
