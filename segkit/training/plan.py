"""What is to be trained, checked: everything that can be refused is refused before the first step."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from segkit.artifact import AnyModel
from segkit.backbones.recompute import recompute_stages
from segkit.data.dataset import Decoded, SegmentationDataset
from segkit.data.folder import DatasetFolder, Sample
from segkit.data.folds import draw_folds
from segkit.data.normalisation import channel_statistics
from segkit.data.reader import Reader
from segkit.data.slices import Slices
from segkit.errors import DataError, RecipeError, UsageError
from segkit.evaluation.seen import kept_with, trained_splits
from segkit.model import Segmenter
from segkit.model_arguments import given_window, grids
from segkit.recipe import Member, MemberRecipe, Recipe, TrainRecipe
from segkit.second_modality import COLOUR, depth_from_colour
from segkit.task import output_maps
from segkit.training.beside import Boosted, Taught
from segkit.training.losses import build_loss
from segkit.training.normalisation import depth_encoding, image_normalisation
from segkit.training.start import start_from


@dataclass(frozen=True)
class Plan:
    """One member's data, loss and normalisation, read and built.

    Attributes:
        member: its sections of the recipe.
        index: its place in the ensemble, from 0.
        reader: how its pictures are read.
        samples: the labelled pictures to train on.
        validation: the pictures to score while training; empty for none.
        held_out: the pictures of its fold, which it isn't trained on; empty without folds.
        dataset: crops of ``samples``, and of the pictures that only a teacher labels.
        loss: called with logits, target and weight, and with what is beside, where there is something.
        mean, std: normalisation.
        encoding: name and options of what is made of depth; None where the model takes none.
        spread: whether it learns a teacher's disagreement too.
        joint: whether it is trained on the same batches as the other members, together with them.
        seen: the dataset's splits that the model it starts from, or its teacher, was trained on.
    """

    member: Member
    index: int
    reader: Reader
    samples: list[Sample]
    validation: list[Sample]
    held_out: list[Sample]
    dataset: SegmentationDataset
    loss: nn.Module
    mean: Sequence[float]
    std: Sequence[float]
    encoding: dict[str, Any] | None
    spread: bool
    joint: bool
    seen: tuple[str, ...] = ()

    @property
    def depth(self) -> bool:
        """Whether the model takes depth, or another second modality."""
        return self.encoding is not None

    @property
    def seed(self) -> int:
        """Of the member's first weights, and of all randomness but its crops'."""
        return self.member.train.seed + self.index


def make_plans(
    recipe: Recipe, folder: DatasetFolder, *, unlabelled: Sequence[Sample] = (), teacher: AnyModel | None = None
) -> list[Plan]:
    """The plans of all members, in order; their pictures are decoded once.

    Args:
        recipe: what is to be trained.
        folder: the dataset.
        unlabelled: pictures that only a teacher labels.
        teacher: whose maps are learnt, and whose disagreement where it has any.

    Raises:
        RecipeError, UsageError, DataError: as :func:`make_plan`; folds of members that differ in their splits.
    """
    folds: list[list[Sample]] = []
    if recipe.folds is not None:
        if any("train_on" in member.data or "validate_on" in member.data for member in _members(recipe)):
            raise RecipeError("folds are of the same pictures for all members; leave splits out of members' data")
        folds = draw_folds(folder, folder.samples(*pool(recipe)), recipe.folds)
    decoded: Decoded = {}
    plans = [
        make_plan(member, index, recipe, folder, folds=folds, unlabelled=unlabelled, teacher=teacher, decoded=decoded)
        for index, member in enumerate(recipe.members(len(folds) or None))
    ]
    if recipe.folds is None and recipe.data.validate_on:
        folder.samples(*recipe.data.validate_on.split("+"))  # where the whole is scored at the end
    return plans


def pool(recipe: Recipe) -> list[str]:
    """The splits whose pictures are dealt out into folds."""
    data = recipe.data
    return list(dict.fromkeys([*data.train_on, *([data.validate_on] if data.validate_on else [])]))


def _members(recipe: Recipe) -> Sequence[MemberRecipe]:
    return recipe.ensemble.members if recipe.ensemble is not None else ()


def make_plan(
    member: Member,
    index: int,
    recipe: Recipe,
    folder: DatasetFolder,
    *,
    folds: Sequence[Sequence[Sample]] = (),
    unlabelled: Sequence[Sample] = (),
    teacher: AnyModel | None = None,
    decoded: Decoded | None = None,
) -> Plan:
    """The plan of one member.

    Args:
        member: its sections of the recipe.
        index: its place in the ensemble.
        recipe: the whole.
        folder: the dataset.
        folds: the parts of the pictures, where it is trained without one of them.
        unlabelled, teacher: see :func:`make_plans`.
        decoded: pictures that other members have decoded already.

    Raises:
        RecipeError, UsageError: values of the recipe that don't go together, or an unknown part, option or loss.
        DataError: a split, picture or mask that can't be used.
    """
    data, train = member.data, member.train
    if data.validate_on is None and (train.keep == "best" or train.early_stopping):
        raise RecipeError(
            f"{member.name}: train.keep=best and train.early_stopping need a split to score; "
            "set data.validate_on, or train.keep=last"
        )
    if member.fold is None and data.validate_on in data.train_on and (train.keep == "best" or train.early_stopping):
        raise RecipeError(
            f"{member.name}: data.validate_on={data.validate_on} is trained on too, so the best weights would be those "
            "that know it by heart; take another split, or data.validate_on=null train.keep=last"
        )
    reader = _reader(member, folder)
    if member.model.depth is not None:
        reader = _with_depth(reader, member, folder)
    if member.fold is None:
        samples, held_out = folder.samples(*data.train_on), []
        validation = folder.samples(data.validate_on) if data.validate_on else []
    else:
        samples = [sample for i, fold in enumerate(folds) if i != member.fold for sample in fold]
        held_out = list(folds[member.fold])
        validation = held_out if data.validate_on else []
    mean, std = image_normalisation(
        data.normalisation, data.channels, lambda: channel_statistics(samples, folder, reader)
    )
    encoding = None
    if member.model.depth is not None and folder.depth_format is not None:
        asked = member.model.encoding
        whole = grids(member.model.input_size, member.model.output_size)[0]
        encoding = depth_encoding(asked.model_dump() if asked is not None else None, samples, folder, size=whole)
    loss: nn.Module = build_loss(
        recipe.loss,
        task=folder.task,
        classes=len(folder.classes),
        class_weights=recipe.class_weights,
        background=folder.background,
    )
    if member.boost:
        loss = Boosted(loss, member.boost)
    if recipe.teacher is not None:
        loss = Taught(loss, recipe.teacher.share, output_maps(folder.task, len(folder.classes)))
    if member.model.output_size is not None and isinstance(loss, Boosted | Taught):
        raise RecipeError(f"{member.name}: boost and teacher are of whole pixels; leave output_size out")
    plan = Plan(
        member=member,
        index=index,
        reader=reader,
        samples=samples,
        validation=validation,
        held_out=held_out,
        dataset=SegmentationDataset(
            folder,
            [*samples, *unlabelled],
            reader,
            crop=data.crop,
            size=grids(member.model.input_size, member.model.output_size)[0],
            crops_per_image=data.crops_per_image,
            foreground=data.foreground,
            augment=data.augment,
            inside_roi=data.inside_roi,
            seed=_data_seed(recipe, train, index),
            cache=data.cache,
            decoded=decoded,
            depth=encoding is not None,
            depth_dropout=data.depth_dropout,
        ),
        loss=loss,
        mean=mean,
        std=std,
        encoding=encoding,
        spread=teacher is not None and teacher.disagrees,
        joint=recipe.joint,
    )
    # For its faults, and what it begins with: the one that is trained is built from the member's seed.
    learnt_from = [build_segmenter(plan, folder).about, *(kept_with(teacher).values() if teacher is not None else ())]
    seen = dict.fromkeys(split for about in learnt_from for split in trained_splits(about, folder.name))
    return replace(plan, seen=tuple(seen))


def _data_seed(recipe: Recipe, train: TrainRecipe, index: int) -> int:
    """Members differ by their first weights and by their crops, unless they are trained together."""
    if train.data_seed is not None:
        return train.data_seed
    return train.seed if recipe.joint else train.seed + index


def build_segmenter(plan: Plan, folder: DatasetFolder) -> Segmenter:
    """The member's model with random first weights (or those its backbone names), from torch's own seed.

    Its backbone is frozen and recomputed as the recipe says.

    Raises:
        UsageError: an unknown part or option.
        RecipeError: ``train.freeze`` counts more stages than there are.
    """
    model, data, train = plan.member.model, plan.member.data, plan.member.train
    try:
        segmenter = Segmenter.create(
            model.backbone.model_dump(),
            neck=model.neck.model_dump(),
            head=model.head.model_dump(),
            stem=model.stem,
            in_channels=data.channels,
            depth=model.depth.model_dump() if model.depth is not None else None,
            bridge=model.bridge.model_dump(),
            encoding=plan.encoding,
            depth_format=plan.reader.depth,
            depth_channels=plan.reader.depth_channels or 1,
            depth_auxiliary=plan.depth,
            classes=folder.classes,
            task=folder.task,
            background=folder.background,
            window=plan.reader.window,
            mpp=plan.reader.mpp,
            slices=plan.reader.slices,
            mean=plan.mean,
            std=plan.std,
            auxiliary=model.auxiliary,
            input_size=model.input_size,
            output_size=model.output_size,
            spread=plan.spread,
        )
    except UsageError as error:
        raise UsageError(f"{plan.member.name}: {error}") from error
    if model.start is not None:
        where = f"{plan.member.name}: model.start={model.start}"
        new_depth = start_from(segmenter, model.start, where, measured=data.normalisation == "dataset")
        if new_depth and model.depth is not None and model.depth.model_dump().get("weights") == COLOUR:
            depth_from_colour(segmenter.backbone)  # once more: the colour backbone has other weights now
    try:
        segmenter.freeze(train.freeze)
    except ValueError as error:
        raise RecipeError(f"{plan.member.name}: train.freeze={train.freeze}: {error}") from error
    if train.gradient_checkpointing:
        recompute_stages(segmenter.backbone)
    return segmenter


def _reader(member: Member, folder: DatasetFolder) -> Reader:
    """How a member's pictures are read."""
    data = member.data
    volumes = any(sample.volume for sample in folder.files.values())
    if data.slices is not None and not volumes:
        raise RecipeError(f"{member.name}: data.slices is for volumes, but {folder.path} has pictures; leave it out")
    if volumes and member.model.depth is not None:
        raise RecipeError(f"{member.name}: depth is of pictures, but {folder.path} has volumes; leave model.depth out")
    if data.foreground and data.crop is None and not volumes:
        raise RecipeError(
            f"{member.name}: data.foreground={data.foreground:g} places crops; set data.crop, or leave it out"
        )
    if data.mpp is not None and volumes:
        raise RecipeError(f"{member.name}: data.mpp={data.mpp:g} is of pictures; of volumes take data.slices.spacing")
    slices = (data.slices or Slices()) if volumes else None
    window = given_window(data.window)
    return Reader(channels=data.channels, window=window, slices=slices, mpp=data.mpp)


def _with_depth(reader: Reader, member: Member, folder: DatasetFolder) -> Reader:
    """The reader of a member that takes depth too."""
    if not any(sample.depth is not None for sample in folder.files.values()):
        raise DataError(
            f"{folder.path / 'depth'}: no files there, but {member.name} takes depth; add some, or leave it out"
        )
    if reader.mpp is not None:
        raise RecipeError(f"{member.name}: data.mpp={reader.mpp:g} is for pictures alone, without model.depth")
    channels = folder.depth_channels
    return reader.model_copy(update={"depth": folder.depth_format, "depth_channels": channels})
