"""A recipe of pretraining: data, a backbone, one objective, augmentation and training, as checked values."""

from typing import ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from segkit.contrasting.captions_recipe import CaptionsRecipe
from segkit.contrasting.colour_depth_recipe import ColourDepthRecipe
from segkit.labelled.augmentation import Augmentation
from segkit.pretraining.growth import Growth
from segkit.sections import OptimisationRecipe, Part, RunRecipe, Side, Strict

OBJECTIVES = ("classify", "colour_depth", "captions")


class PretrainDataRecipe(Strict):
    """Which images are trained on."""

    path: str | None = Field(None, description="where the data are; usually given on the command line")
    train_on: list[str] = Field(["train"], min_length=1, description="splits to train on")
    validate_on: str | None = Field("val", description="split to score while training; null for none")
    channels: int = Field(3, ge=1, description="channels of the model's input; grey is repeated for 3")
    size: Side | tuple[Side, Side] = Field(224, description="of what the model is shown, side or [height, width]")
    grow: Growth | None = Field(
        None, description="images are smaller at first, which learns more in little time; null: all of one size"
    )
    share: float | None = Field(
        None,
        gt=0,
        le=1,
        description="of the shorter side that is seen in validation; null: 0.875 for sizes from 128 on, else 1",
    )
    normalisation: Literal["dataset", "imagenet", "none"] = Field(
        "dataset", description="mean and standard deviation: measured on the training images, ImageNet's, or 0 and 1"
    )
    cache: bool = Field(True, description="keep decoded images in memory when they fit")

    @field_validator("train_on")
    @classmethod
    def _each_once(cls, splits: list[str]) -> list[str]:
        return list(dict.fromkeys(splits))

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of what the model is shown."""
        return (self.size, self.size) if isinstance(self.size, int) else self.size


class PretrainModelRecipe(Strict):
    """What is trained."""

    backbone: Part = Field(description="name, or {name, weights, options}")
    depth: Part | None = Field(None, description="a backbone for depth, for colour_depth alone")


class ClassifyRecipe(Strict):
    """Learn classes of whole images."""

    label_smoothing: float = Field(0.1, ge=0, lt=1, description="of the truth's share that goes to all classes evenly")
    mixup: float = Field(0.0, ge=0, description="alpha of Mixup's Beta distribution; 0: no Mixup")
    cutmix: float = Field(0.0, ge=0, description="alpha of CutMix's Beta distribution; 0: no CutMix")
    mix: float = Field(1.0, ge=0, le=1, description="share of the batches that are mixed, where mixup or cutmix are on")


class PretrainTrainRecipe(OptimisationRecipe):
    """How the weights are found."""

    batch: int = Field(128, ge=1, description="images or pairs in a step")
    minutes: float | None = Field(
        None, gt=0, description="training ends after so many at the latest, the schedule with it; null: after epochs"
    )


class PretrainRecipe(RunRecipe):
    """A whole pretraining run: exactly one of the objectives' sections is there."""

    command: ClassVar[str] = "segkit pretrain"
    data: PretrainDataRecipe = PretrainDataRecipe()
    model: PretrainModelRecipe
    classify: ClassifyRecipe | None = Field(None, description="learn classes of labelled images")
    colour_depth: ColourDepthRecipe | None = Field(None, description="learn which depth belongs to which picture")
    captions: CaptionsRecipe | None = Field(None, description="learn which caption belongs to which image")
    augment: Augmentation | None = Field(
        None, description="random changes of the images; null: RandomResizedCrop and flip. colour_depth has its own"
    )
    train: PretrainTrainRecipe = PretrainTrainRecipe()

    @property
    def objective(self) -> str:
        """The name of the objective's section."""
        return self._objectives()[0]

    @model_validator(mode="after")
    def _one_objective(self) -> "PretrainRecipe":
        found = self._objectives()
        if len(found) != 1:
            raise ValueError(f"expected one section of {', '.join(OBJECTIVES)}; found {' and '.join(found) or 'none'}")
        return self

    @model_validator(mode="after")
    def _goes_together(self) -> "PretrainRecipe":
        if self.colour_depth is not None and self.model.depth is None:
            raise ValueError("colour_depth needs a backbone for depth; name one by model.depth")
        if self.colour_depth is None and self.model.depth is not None:
            raise ValueError(f"model.depth is for colour_depth alone; {self.objective} looks at images")
        if self.colour_depth is not None and self.augment is not None:
            raise ValueError("augment changes images without their depth; say what is wanted in colour_depth")
        if self.colour_depth is not None and self.data.grow is not None:
            raise ValueError("data.grow changes images without their depth; leave it out with colour_depth")
        if self.colour_depth is not None and self.data.share is not None:
            raise ValueError("data.share is of images alone; colour_depth sees pictures whole, leave it out")
        size, grow = self.data.shape, self.data.grow
        if self.colour_depth is not None and 2 * self.colour_depth.shift > min(size):
            raise ValueError(
                f"colour_depth.shift={self.colour_depth.shift}: two windows laid so far apart share too little of "
                f"data.size={min(size)}; take {min(size) // 2} or less"
            )
        if grow is not None and grow.start >= max(size):
            raise ValueError(
                f"data.grow.start={grow.start}: images grow from there to data.size, {max(size)}; begin lower"
            )
        if self.data.validate_on in self.data.train_on:
            raise ValueError(
                f"data.validate_on={self.data.validate_on}: it is trained on too, so its score would say little; take "
                "another split, or data.validate_on=null train.keep=last"
            )
        if self.colour_depth is None and self.augment is None:
            self.augment = Augmentation()
        if self.data.validate_on is None and (self.train.keep == "best" or self.train.early_stopping):
            raise ValueError(
                "train.keep=best and train.early_stopping need a split to score; set data.validate_on, or "
                "train.keep=last"
            )
        return self

    def _objectives(self) -> list[str]:
        return [name for name in OBJECTIVES if getattr(self, name) is not None]
