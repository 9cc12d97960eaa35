"""The section ``colour_depth`` of a recipe: how colour and depth of the same scene are brought into one space."""

from typing import Any, Literal

from pydantic import Field, model_validator

from segkit.sections import Part, Strict


class ColourDepthRecipe(Strict):
    """Learn which depth belongs to which picture, and which place in it to which place."""

    loss: Literal["info_nce", "margin"] = Field(
        "info_nce", description="symmetric InfoNCE with a learned temperature, or the margin loss of pairs"
    )
    temperature: float = Field(0.07, ge=0.01, le=1, description="that InfoNCE begins with")
    margin: float = Field(1.0, gt=0, le=2, description="of the margin loss: how far apart is far enough; at most 2")
    image: float = Field(1.0, ge=0, description="weight of the loss between whole pictures; 0: none")
    dense: float = Field(1.0, ge=0, description="weight of the loss between places in pictures; 0: none")
    points: int = Field(32, ge=1, description="places of each picture in a step, all of them with measured depth")
    radius: float = Field(
        16.0, ge=0, description="pixels; places of one picture that are as near, or nearer, are no negatives"
    )
    dim: int = Field(128, ge=1, description="of the space that both are projected to")
    parts: int = Field(
        10, ge=1, description="along each side of whole pictures, which are as similar as their parts are on average"
    )
    stride: int = Field(4, ge=1, description="of the levels that places are looked up in: the nearest that there are")
    encoding: Part | None = Field(
        None, description="what the depth backbone is given, as in model.encoding of a segmenter; null: by the unit"
    )
    flip: list[Literal["left_right", "up_down"]] = Field(
        ["left_right"],
        description="ways in which all pictures of a batch are mirrored, or none is, with their depth",
    )
    shift: int = Field(
        24,
        ge=0,
        description="pixels; the pictures and the depth of a batch are seen through two windows, laid apart from each "
        "other by chance, at most so far along each axis",
    )
    holes: float = Field(0.2, ge=0, lt=1, description="most of the depth that is taken away in rectangles, 0..1")
    augment: list[dict[str, dict[str, Any] | None]] | None = Field(
        None,
        description="albumentations transforms, geometry for picture and depth alike: `- ToGray: {p: 0.2}`; null: "
        "colour, blur and noise of the picture alone",
    )

    @model_validator(mode="after")
    def _something_to_learn(self) -> "ColourDepthRecipe":
        if not self.image and not self.dense:
            raise ValueError("image and dense are both 0; one of them must have a weight")
        return self

    @model_validator(mode="after")
    def _nothing_without_effect(self) -> "ColourDepthRecipe":
        without = {"margin" if self.loss == "info_nce" else "temperature": f"loss: {self.loss} has none"}
        if not self.dense:
            without |= dict.fromkeys(("points", "radius"), "of the loss between places, whose weight is 0")
        if not self.image:
            without |= {"parts": "of the loss between whole pictures, whose weight is 0"}
        for key, why in without.items():
            if getattr(self, key) != type(self).model_fields[key].default:
                raise ValueError(f"{key}={getattr(self, key):g}: {why}; leave it out")
        return self
