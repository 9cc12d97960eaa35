"""Which labels the steps are applied to: classes by name, sizes in pixels."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from segkit.errors import RecipeError
from segkit.nearest import nearest
from segkit.postprocessing.settings import EVERY, WHOLE, Postprocessing, amount_of
from segkit.task import Task

KEY = "predict.postprocess"
ROUNDING = 1e-9  # share of a size by which what is equal on paper may differ in floating point

Spacing = tuple[float, ...]
"""Distance of neighbouring pixels along each axis, in mm."""


def of_picture(own: tuple[float, float] | None, mpp: float | None) -> Spacing | None:
    """The spacing of a picture; None where nobody knows it.

    Args:
        own: microns per pixel, down and across, as its file says.
        mpp: those that the model takes pictures to have.
    """
    down, across = own or (mpp, mpp)
    return None if down is None or across is None else (down / 1000, across / 1000)


def foreground(task: Task, classes: Sequence[str], background: int | None) -> dict[str, int]:
    """Names of the classes that can be postprocessed, and each one's map."""
    if task == "binary":
        return {classes[-1]: 0}
    return {name: k for k, name in enumerate(classes) if k != background}


def check(settings: Postprocessing, task: Task, classes: Sequence[str], background: int | None) -> None:
    """Raise RecipeError where a step names a class that can't be postprocessed, or has nothing to leave behind."""
    known = foreground(task, classes, background)
    for step in ("thresholds", "largest", "smallest", "holes"):
        for name in getattr(settings, step):
            if name not in known and name != EVERY:
                also = "; the background is what is left of the others" if name in classes else nearest(name, known)
                raise RecipeError(f"{KEY}.{step}: no foreground class {name!r}{also}")
    if task == "multiclass" and background is None:
        for step in ("largest", "smallest", "holes"):
            if getattr(settings, step):
                what = "holes would be of" if step == "holes" else "what is removed would become"
                raise RecipeError(f"{KEY}.{step}: no class is named as background, which {what}; leave it out")


def check_units(settings: Postprocessing, *, volumes: bool, measured: bool = True) -> None:
    """Raise RecipeError where a size is of volumes and the images are pictures, or the other way round.

    Also where it is in millimetres, and the images' pixels aren't ``measured``: nothing says how large they are.
    """
    dimensions = 3 if volumes else 2
    check_sizes(settings, Scale((2,) * dimensions, (1.0,) * dimensions if measured else None))


def check_sizes(settings: Postprocessing, image: "Scale") -> None:
    """Raise RecipeError where a size has no meaning for an image: of another unit, or its pixels' size is unknown."""
    if settings.smoothing is not None:
        image.deviations(settings.smoothing)
    for size in settings.smallest.values():
        image.fewest_pixels(size)
    for size in settings.holes.values():
        if size != WHOLE:
            image.most_pixels(size)


def slice_axis(shape: tuple[int, ...]) -> int | None:
    """The axis along which a volume is a single slice; None of any other volume, and of pictures."""
    alone = [axis for axis, length in enumerate(shape) if length == 1]
    return alone[0] if len(shape) == 3 and len(alone) == 1 else None


@dataclass(frozen=True)
class Scale:
    """How large the pixels of an image are.

    A volume of a single slice is a picture that also has a thickness: its sizes may be in mm2 and in mm3.

    Attributes:
        shape: [H, W] or [I, J, L].
        spacing: distance of neighbouring pixels along each axis, mm; None where it isn't known.
    """

    shape: tuple[int, ...]
    spacing: Spacing | None = None

    def fewest_pixels(self, size: str) -> int:
        """How many pixels a part must have that isn't smaller than a size."""
        return math.ceil(self._pixels("smallest", size) * (1 - ROUNDING))

    def most_pixels(self, size: str) -> int:
        """How many pixels a hole may have that isn't larger than a size."""
        return math.floor(self._pixels("holes", size) * (1 + ROUNDING))

    def deviations(self, length: str) -> list[float]:
        """A length in pixels along each axis."""
        number, unit = amount_of(length)
        if unit == "px":
            return [number] * len(self.shape)
        return [number / step for step in self._known("smoothing", length)]

    def _pixels(self, step: str, size: str) -> float:
        number, unit = amount_of(size)
        if unit == "px":
            return number
        alone = slice_axis(self.shape)
        if unit == "mm2" and len(self.shape) == 3 and alone is None:
            raise RecipeError(f"{KEY}.{step}: {size} is an area; this is a volume, give it in mm3 or px")
        if unit == "mm3" and len(self.shape) == 2:
            raise RecipeError(f"{KEY}.{step}: {size} is of a volume; this is a picture, give it in mm2 or px")
        known = self._known(step, size)
        return number / math.prod(each for axis, each in enumerate(known) if unit == "mm3" or axis != alone)

    def _known(self, step: str, asked: str) -> Spacing:
        spacing = self.spacing
        if spacing is None:
            raise RecipeError(
                f"{KEY}.{step}: {asked}, but nothing says how large this image's pixels are; give it in px"
            )
        if len(spacing) != len(self.shape) or not all(math.isfinite(each) and each > 0 for each in spacing):
            raise RecipeError(f"spacing={spacing}: expected {len(self.shape)} distances above 0, in mm, one an axis")
        return spacing
