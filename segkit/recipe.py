"""A recipe: everything a training run needs, as checked values; :mod:`segkit.recipe_file` reads one."""

import re
from itertools import product
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from segkit.data.slices import Slices
from segkit.data.window_names import NamedWindow
from segkit.nearest import nearest
from segkit.postprocessing.settings import Postprocessing
from segkit.sections import STACK, OptimisationRecipe, Part, Precision, RunRecipe, Side, Strict
from segkit.tta import TTA, parse_tta

AnySection = TypeVar("AnySection", "DataRecipe", "TrainRecipe")
SHARED = (
    *("epochs", "batch", "accumulate", "precision", "validate_every", "workers", "deterministic", "data_seed"),
    "keep",
)
"""Keys of ``train`` that members trained together have in common."""


class DataRecipe(Strict):
    """Which pictures are trained on, and what is done to them on the way."""

    path: str | None = Field(None, description="the dataset's folder; usually given on the command line")
    train_on: list[str] = Field(["train"], min_length=1, description="splits to train on")
    validate_on: str | None = Field("val", description="split to score while training; null for none")
    channels: int = Field(3, ge=1, description="channels of the model's input; grey is repeated for 3")
    window: tuple[float, float] | Literal["picture", "file"] | NamedWindow | None = Field(
        None,
        description="intensities that become 0 and 1; picture: each picture's, or volume's, own 0.1 and 99.9 "
        "percentiles; file: the window that a DICOM file names; or one of CT by name",
    )
    slices: Slices | None = Field(
        None, description="how volumes are looked at; channels counts those of all slices seen at a time"
    )
    mpp: float | None = Field(
        None,
        gt=0,
        description="microns per pixel that slides and other TIFFs are brought to; pictures that don't say their "
        "resolution are taken to have it; null: all as they are",
    )
    normalisation: Literal["dataset", "imagenet", "none"] = Field(
        "dataset", description="mean and standard deviation: measured on the training pictures, ImageNet's, or 0 and 1"
    )
    crop: Side | tuple[Side, Side] | None = Field(256, description="training crop, side or [height, width]; null: none")
    crops_per_image: int = Field(1, ge=1, description="crops taken from each picture in an epoch")
    foreground: float = Field(0.0, ge=0, le=1, description="share of crops centred on a foreground class")
    inside_roi: bool = Field(
        True, description="train inside the regions of interest alone; false where masks hold outside too"
    )
    augment: Literal["none", "light", "medium", "strong"] | list[dict[str, dict[str, Any] | None]] = Field(
        "medium", description="a ready-made list, or albumentations transforms: `- HorizontalFlip: {p: 0.5}`"
    )
    depth_dropout: float = Field(
        0.0, ge=0, lt=1, description="share of the crops whose depth is taken away, so that the model works without it"
    )
    cache: bool = Field(True, description="keep decoded pictures in memory when they fit")

    @field_validator("window")
    @classmethod
    def _window_rises(cls, window: tuple[float, float] | str | None) -> tuple[float, float] | str | None:
        if isinstance(window, tuple) and not window[0] < window[1]:
            raise ValueError(f"expected two rising intensities, found {list(window)}")
        return window


class ModelRecipe(Strict):
    """One segmenter: backbone, neck and head."""

    backbone: Part = Field(description="name, or {name, weights, options}")
    stem: bool | int = Field(False, description="learned full- and half-resolution maps in front; a number: its width")
    depth: Part | None = Field(
        None,
        description="a backbone for depth, or another second modality: name, or {name, weights, options}; weights: "
        "colour takes those of the colour backbone",
    )
    bridge: Part = Field(
        Part(name="se"), description="how depth joins the colour features: name, or {name, levels, options}"
    )
    encoding: Part | None = Field(
        None, description="what the depth backbone is given: metres, inverse, normals or plain; null: by the unit"
    )
    neck: Part = Field(Part(name="unet"), description="name, or {name, options}")
    head: Part = Field(Part(name="upsample"), description="name, or {name, options}")
    auxiliary: int = Field(0, ge=0, description="auxiliary heads on the neck's coarser maps (deep supervision)")
    input_size: tuple[Side, Side] | None = Field(
        None, description="[height, width] that whole pictures are brought to; needs data.crop and predict.tile null"
    )
    start: str | None = Field(
        None,
        description="where a saved model of the same shape is, whose weights are the first; not its normalisation. "
        "With depth also one of colour alone, whose normalisation stays where data.normalisation is dataset",
    )
    output_size: tuple[Side, Side] | None = Field(
        None, description="[height, width] of a coarse map to learn; input_size is 8 times that by default"
    )


class MemberRecipe(ModelRecipe):
    """One member of an ensemble; `train` and `data` change single keys of the sections for it alone."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", description="the member's name, also its file's")
    boost: float = Field(
        0.0,
        ge=0,
        description="how much more a pixel counts that the members before get wrong: 1 + boost · (1 - p of the truth)",
    )
    data: dict[str, Any] = Field({}, description="keys of `data` that differ for this member")
    train: dict[str, Any] = Field({}, description="keys of `train` that differ for this member")


class EnsembleRecipe(Strict):
    """Several segmenters, each trained with an optimiser of its own, averaged per pixel."""

    members: list[MemberRecipe] = Field(min_length=1)
    weights: list[float] | None = Field(None, description="one weight a member; null: all equal")
    joint: bool = Field(
        False, description="train all members in one pass over the data, on the same batches; each for itself, though"
    )

    @model_validator(mode="after")
    def _consistent(self) -> "EnsembleRecipe":
        names = [member.name.casefold() for member in self.members]  # each is a folder, and not all file systems tell
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two members are called {twice[0]!r}; give each its own name")
        if self.weights is not None and len(self.weights) != len(self.members):
            raise ValueError(f"{len(self.weights)} weights for {len(self.members)} members; give one each")
        if self.weights is not None and (min(self.weights) < 0 or sum(self.weights) <= 0):
            raise ValueError("weights must be zero or more, with a positive sum")
        if self.members[0].boost:
            raise ValueError(f"member {names[0]!r}: boost={self.members[0].boost:g}, but no member comes before it")
        return self


class TrainRecipe(OptimisationRecipe):
    """How a segmenter's weights are found."""

    freeze: Annotated[int, Field(ge=0)] | Literal["all", "colour"] = Field(
        0,
        description="stages of the backbone, from its input, that keep their weights and statistics, a stem learns; "
        "all: every stage of it; colour: the whole model but what belongs to depth",
    )
    unfreeze: float | None = Field(
        None, gt=0, lt=1, description="share of the epochs after which what was frozen learns too; null: never"
    )
    data_seed: int | None = Field(None, ge=0, description="of the crops and their order alone; null: that of seed")


class PredictRecipe(Strict):
    """How the trained model is applied; kept with the model."""

    tile: int | None = Field(512, ge=16, description="side of the tiles of a large picture; null: in one piece")
    overlap: float = Field(0.5, ge=0, lt=1)
    tta: TTA = Field(
        None,
        description="average over views: mirror (left-right), flip (upside down too), d4 (quarter turns too), further "
        "scales, or both: flip,0.75,1.25",
    )
    threshold: float = Field(0.5, gt=0, lt=1, description="probability from which a pixel is foreground (sigmoid maps)")
    precision: Precision = Field("auto", description="auto: bf16 where it is native, else fp32, which is exact")
    postprocess: Postprocessing | None = Field(
        None, description="what is done to masks before they are handed on; `segkit postprocess` finds what helps"
    )

    @field_validator("tta")
    @classmethod
    def _tta_means_something(cls, tta: TTA) -> TTA:
        parse_tta(tta)
        return tta


class TeacherRecipe(Strict):
    """A model whose probabilities are learnt beside the masks (distillation)."""

    model: str = Field(description="where a saved model is, of the dataset's classes; it reads pictures in its own way")
    share: float = Field(
        0.5, gt=0, le=1, description="of the loss that is against the teacher's probabilities; the rest against masks"
    )
    unlabelled: str | None = Field(None, description="a folder of further pictures, which only the teacher labels")


class Recipe(RunRecipe):
    """A whole training run."""

    command: ClassVar[str] = "segkit train"
    data: DataRecipe = DataRecipe()
    model: ModelRecipe | None = None
    ensemble: EnsembleRecipe | None = None
    folds: int | None = Field(
        None,
        ge=2,
        description="train every member so often, each time without one part of train_on and validate_on together, "
        "which scores it; fewer where there are fewer pictures or groups",
    )
    teacher: TeacherRecipe | None = Field(None, description="distil a saved model; usually given by segkit distill")
    seeds: int = Field(1, ge=1, description="train every member so often, each time from other random numbers")
    loss: dict[str, float | dict[str, Any]] = Field(
        {"cross_entropy": 1.0, "dice": 1.0},
        min_length=1,
        description="weight of each loss, or {weight, options}: cross_entropy, bce, dice (smooth, include_background, "
        "per_image), tversky (alpha, beta, and dice's), focal (gamma, alpha), lovasz (per_image); one of your own is "
        "'package.module:Class'",
    )
    class_weights: list[float] | None = Field(
        None,
        description="one weight a class in every loss; of a binary task two, of background and foreground, for losses "
        "that look at both: cross_entropy, bce, focal, and dice and tversky with include_background: true",
    )
    train: TrainRecipe = TrainRecipe()
    predict: PredictRecipe = PredictRecipe()

    @field_validator("ensemble")
    @classmethod
    def _members_change_known_keys(cls, ensemble: EnsembleRecipe | None) -> EnsembleRecipe | None:
        for member in ensemble.members if ensemble else ():
            for section, changes, fields in (
                ("train", member.train, TrainRecipe.model_fields),
                ("data", member.data, DataRecipe.model_fields),
            ):
                for key in changes:
                    if key == "path":
                        raise ValueError(f"member {member.name!r}: all members train on one dataset, data.path")
                    if key not in fields:
                        raise ValueError(f"member {member.name!r}: {section} has no key {key!r}{nearest(key, fields)}")
        return ensemble

    @model_validator(mode="after")
    def _one_of_model_and_ensemble(self) -> "Recipe":
        if (self.model is None) == (self.ensemble is None):
            raise ValueError("give either 'model' or 'ensemble.members'")
        return self

    @model_validator(mode="after")
    def _goes_together(self) -> "Recipe":
        boosted = [member.name for member in (self.ensemble.members if self.ensemble else ()) if member.boost]
        if boosted and (self.varied or self.teacher is not None):
            raise ValueError(f"{boosted[0]}: boost looks at the members before it; leave folds, seeds and teacher out")
        if self.joint:
            self._check_joint(boosted)
        if self.folds is not None and self.teacher is not None:
            raise ValueError("folds: the teacher has seen all of them; leave folds or the teacher out")
        return self

    def _check_joint(self, boosted: list[str]) -> None:
        if boosted or self.folds is not None:
            raise ValueError("ensemble.joint: all members see the same batches; leave boost and folds out")
        first, *others = self.members()
        if any(member.train.early_stopping for member in (first, *others)):
            raise ValueError("ensemble.joint: members end together; leave train.early_stopping out")
        for member in others:
            for section, keys in (("data", DataRecipe.model_fields), ("train", SHARED)):
                for key in keys:
                    if getattr(getattr(member, section), key) != getattr(getattr(first, section), key):
                        raise ValueError(
                            f"ensemble.joint: {section}.{key} of {member.name!r} isn't that of {first.name!r}, but "
                            "their batches are the same"
                        )
            if (member.model.depth is None) != (first.model.depth is None):
                raise ValueError(
                    f"ensemble.joint: {member.name!r} and {first.name!r} differ in whether they take depth"
                )
            if member.model.input_size != first.model.input_size or member.model.output_size != first.model.output_size:
                raise ValueError(f"ensemble.joint: {member.name!r} takes images of another size than {first.name!r}")

    @model_validator(mode="after")
    def _depth_goes_with_a_model_that_takes_it(self) -> "Recipe":
        for member in self.members():
            model = member.model
            of_depth = {
                "model.encoding": model.encoding is not None,
                "model.bridge": model.bridge != ModelRecipe.model_fields["bridge"].default,
                "data.depth_dropout": member.data.depth_dropout > 0,
            }
            given = [key for key, there in of_depth.items() if there]
            if model.depth is None and given:
                raise ValueError(f"{member.name}: {given[0]} is of depth; name a backbone for it by model.depth")
            if model.depth is not None and model.depth.name == STACK and "model.bridge" in given:
                raise ValueError(f"{member.name}: model.bridge joins two backbones, depth={STACK} is one; leave it out")
            if member.train.unfreeze is not None and not member.train.freeze:
                raise ValueError(f"{member.name}: train.unfreeze, but nothing is frozen; say what by train.freeze")
        return self

    @model_validator(mode="after")
    def _whole_pictures_stay_whole(self) -> "Recipe":
        for member in self.members():
            if member.model.input_size is None and member.model.output_size is None:
                continue
            for key, value in (("data.crop", member.data.crop), ("predict.tile", self.predict.tile)):
                if value is not None:
                    raise ValueError(f"{member.name}: input_size and output_size are of whole pictures; set {key}=null")
        if len(parse_tta(self.predict.tta).scales) > 1 and all(each.model.input_size for each in self.members()):
            raise ValueError("predict.tta: every model brings pictures to its input_size; leave the scales out")
        return self

    @property
    def joint(self) -> bool:
        """Whether all members are trained on the same batches."""
        return self.ensemble is not None and self.ensemble.joint

    @property
    def varied(self) -> bool:
        """Whether what is named once is trained several times."""
        return self.folds is not None or self.seeds > 1

    def members(self, folds: int | None = None) -> list["Member"]:
        """What is trained, in order: the ensemble's members, or the single model under the recipe's name.

        Where the recipe says so, each of them once a fold and seed.

        Args:
            folds: how many there are, if not as many as the recipe asks for.
        """
        named = self._named_members()
        if not self.varied:
            return named
        numbers = range(folds or self.folds or 1) if self.folds is not None else (None,)
        varied = []
        for member, fold, seed in product(named, numbers, range(self.seeds)):
            parts = [re.sub("[^A-Za-z0-9_-]", "-", member.name)]
            parts += [f"fold{fold + 1}"] if fold is not None else []
            parts += [f"seed{seed + 1}"] if self.seeds > 1 else []
            varied.append(member.model_copy(update={"name": "-".join(parts), "fold": fold}))
        return varied

    def _named_members(self) -> list["Member"]:
        if self.ensemble is None:
            assert self.model is not None
            return [Member(name=self.name, model=self.model, data=self.data, train=self.train)]
        return [
            Member(
                name=member.name,
                model=member,
                data=_changed(self.data, member, "data"),
                train=_changed(self.train, member, "train"),
                boost=member.boost,
            )
            for member in self.ensemble.members
        ]


class Member(BaseModel):
    """One model to train, with the sections as they hold for it.

    Attributes:
        boost: see :class:`MemberRecipe`.
        fold: number, from 0, of the part of the pictures that it is trained without; None: it is trained on all.
    """

    name: str
    model: ModelRecipe
    data: DataRecipe
    train: TrainRecipe
    boost: float = 0.0
    fold: int | None = None


def _changed(section: AnySection, member: MemberRecipe, key: str) -> AnySection:
    """A section as it holds for a member.

    Raises:
        ValueError: what the member changes has a wrong value.
    """
    try:
        return type(section).model_validate({**section.model_dump(), **getattr(member, key)})
    except ValidationError as error:
        problem: Any = error.errors()[0]
        where = ".".join(str(part) for part in (key, *problem["loc"]))
        raise ValueError(f"member {member.name!r}: {where}: {problem['msg']}") from None
