"""What recipes of every kind share: strict sections, parts by name, and how weights are found."""

from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from segkit.yaml_text import yaml_of

Share = Annotated[float, Field(ge=0, lt=1)]
Side = Annotated[int, Field(ge=1)]
Precision = Literal["auto", "fp32", "bf16", "fp16"]
OptimizerName = Literal["adamw", "muon"]

STACK = "stack"
"""In the place of a depth backbone's name: depth is further channels of the image's backbone."""


class Strict(BaseModel):
    """A section of the recipe: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", validate_default=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _booleans_are_no_numbers(cls, value: object, field: ValidationInfo) -> object:
        """As Python counts, true is 1: ``freeze: true`` would freeze one stage."""
        kinds = _kinds(cls.model_fields[str(field.field_name)].annotation)
        given = value if isinstance(value, list | tuple) else [value]
        numbers = (int in kinds or float in kinds) and bool not in kinds
        if numbers and any(isinstance(each, bool) for each in given):
            raise PydanticCustomError("number", "Input should be a number, true and false are none")
        return value


def _kinds(annotation: Any) -> list[Any]:
    """All types that an annotation is made of."""
    return [annotation, *(kind for each in get_args(annotation) for kind in _kinds(each))]


class Part(BaseModel):
    """A backbone, neck or head by name, with its own options beside the name."""

    model_config = ConfigDict(extra="allow")
    name: str = Field(description="which one (`segkit models` lists them), or a class of yours as package.module:Class")

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: object) -> object:
        if isinstance(value, dict) and value and "name" not in value:
            raise ValueError(f"no name among {', '.join(map(str, value))}; write {{name: …, option: value}}")
        return {"name": value} if isinstance(value, str) else value


class OptimisationRecipe(Strict):
    """How weights are found, whatever is learnt."""

    epochs: int = Field(100, ge=1)
    batch: int = Field(8, ge=1, description="crops or images in a step, on each device")
    accumulate: int = Field(1, ge=1, description="steps whose gradients are summed into one update")
    optimizer: OptimizerName = Field(
        "adamw",
        description="adamw; or muon: linear layers of backbones learn by it, all else by AdamW. For Swin and its kin "
        "from random weights, at a rate about 0.002; without linear layers, as in ResNet, it changes nothing",
    )
    learning_rate: float = Field(1e-3, gt=0)
    weight_decay: float = Field(0.01, ge=0, description="not for norms, biases and position-bias tables")
    betas: tuple[Share, Share] = (0.9, 0.999)
    layer_decay: float = Field(
        1.0, gt=0, le=1, description="the learning rate's factor from each stage of the backbone to the one before it"
    )
    gradient_checkpointing: bool = Field(
        False, description="compute each stage of the backbone twice: less memory, more time, the same gradients"
    )
    schedule: Literal["cosine", "polynomial", "constant"] = "cosine"
    warmup: float = Field(0.05, ge=0, lt=1, description="share of the updates in which the rate rises from 0")
    clip: float | None = Field(1.0, gt=0, description="largest gradient norm; null: no clipping")
    ema: float | None = Field(0.999, gt=0, lt=1, description="decay of the averaged weights; null: none")
    precision: Precision = Field(
        "auto", description="auto: bf16 where it is computed natively, else fp16 on a GPU and fp32 on a processor"
    )
    early_stopping: int | None = Field(None, ge=1, description="validations without a better score before stopping")
    validate_every: int = Field(1, ge=1, description="epochs between validations; the last has one too")
    keep: Literal["best", "last"] = Field("best", description="weights to keep; best needs data.validate_on")
    seed: int = Field(
        0, ge=0, lt=2**31, description="of first weights and crops; each further member has the next number"
    )
    workers: Annotated[int, Field(ge=0)] | Literal["auto"] = Field("auto", description="processes that read images")
    deterministic: bool = Field(False, description="only operations that give the same bits each time")


class RunRecipe(Strict):
    """Everything that a run of some command needs.

    Attributes:
        command: that runs it.
    """

    command: ClassVar[str]
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", description="also the run's folder")

    def to_yaml(self) -> str:
        """The resolved recipe; reading it back gives an equal one."""
        return yaml_of(self.model_dump(mode="json", exclude_none=False), width=100)
