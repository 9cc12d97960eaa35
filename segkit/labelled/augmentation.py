"""How training images are changed at random: a section of a recipe."""

from typing import Annotated

from pydantic import Field, model_validator

from segkit.sections import Strict

Rising = tuple[Annotated[float, Field(gt=0, allow_inf_nan=False)], Annotated[float, Field(gt=0, allow_inf_nan=False)]]


class Crop(Strict):
    """The part of an image that becomes the whole: a random window of it, or the image moved by a few pixels."""

    scale: Rising = Field((0.08, 1.0), description="share of the image's area that is seen, from and to")
    ratio: Rising = Field((3 / 4, 4 / 3), description="width / height of that part, from and to")
    pad: int | None = Field(
        None, ge=1, description="pixels; the whole image moved by up to as many, over black: usual on CIFAR"
    )

    @model_validator(mode="after")
    def _means_something(self) -> "Crop":
        for key in ("scale", "ratio"):
            low, high = getattr(self, key)
            if low > high:
                raise ValueError(f"{key}: expected from and to, rising; found {[low, high]}")
        if self.scale[1] > 1:
            raise ValueError(f"scale: a share of the image is at most 1; found {self.scale[1]:g}")
        usual = type(self).model_fields
        if self.pad is not None and any(getattr(self, key) != usual[key].default for key in ("scale", "ratio")):
            raise ValueError("pad: moves the whole image, so scale and ratio mean nothing; leave one of them out")
        return self


class Jitter(Strict):
    """ColorJitter: factors drawn from 1 - x to 1 + x, and a turn of the hue by up to x of the circle."""

    brightness: float = Field(0.0, ge=0, le=1)
    contrast: float = Field(0.0, ge=0, le=1)
    saturation: float = Field(0.0, ge=0, le=1)
    hue: float = Field(0.0, ge=0, le=0.5)


class RandAugment(Strict):
    """Operations drawn from the fourteen of Cubuk et al. (CVPR workshops 2020), at one magnitude."""

    operations: int = Field(2, ge=1, le=14, description="of each image, one after the other")
    magnitude: int = Field(9, ge=0, le=30, description="0 hardly anything, 30 the most; 9 is usual")


class Augmentation(Strict):
    """Random changes of training images, in this order; each image has draws of its own.

    By default RandomResizedCrop and horizontal flip.
    """

    crop: Crop | None = Field(Crop(), description="{scale, ratio} or {pad}; null: the whole image, resized")
    flip: float = Field(0.5, ge=0, le=1, description="probability of a mirror image")
    rand_augment: RandAugment | None = Field(None, description="{operations, magnitude}; null: none")
    jitter: Jitter | None = Field(None, description="{brightness, contrast, saturation, hue}; null: none")
    erase: float = Field(0.0, ge=0, le=1, description="probability that a rectangle gives way to noise")
