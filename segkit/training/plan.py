"""What is to be trained, checked: everything that can be refused is refused before the first step."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from segkit.backbones.recompute import recompute_stages
from segkit.data.dataset import SegmentationDataset
from segkit.data.folder import DatasetFolder, Sample
from segkit.data.normalisation import channel_statistics
from segkit.data.reader import Reader
from segkit.errors import RecipeError
from segkit.model import Segmenter, grids
from segkit.recipe import DataRecipe, Member, Recipe
from segkit.training.losses import build_loss


@dataclass(frozen=True)
class Plan:
    """One member's data, loss and normalisation, read and built.

    Attributes:
        member: its sections of the recipe.
        index: its place in the ensemble, from 0.
        reader: how its pictures are read.
        samples: the pictures to train on.
        validation: the pictures to score while training; empty for none.
        dataset: crops of ``samples``.
        loss: called with logits, target and weight.
        mean, std: normalisation; None for ImageNet's.
    """

    member: Member
    index: int
    reader: Reader
    samples: list[Sample]
    validation: list[Sample]
    dataset: SegmentationDataset
    loss: nn.Module
    mean: Sequence[float] | None
    std: Sequence[float] | None

    @property
    def seed(self) -> int:
        """Of all the member's randomness."""
        return self.dataset.seed


def make_plan(member: Member, index: int, recipe: Recipe, folder: DatasetFolder) -> Plan:
    """The plan of one member.

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
    reader = Reader(channels=data.channels, window=data.window)
    samples = folder.samples(*data.train_on)
    mean, std = _normalisation(data, samples, reader)
    plan = Plan(
        member=member,
        index=index,
        reader=reader,
        samples=samples,
        validation=folder.samples(data.validate_on) if data.validate_on else [],
        dataset=SegmentationDataset(
            folder,
            samples,
            reader,
            crop=data.crop,
            size=grids(member.model.input_size, member.model.output_size)[0],
            crops_per_image=data.crops_per_image,
            foreground=data.foreground,
            augment=data.augment,
            inside_roi=data.inside_roi,
            seed=train.seed + index,  # members differ by their first weights and by their crops
            cache=data.cache,
        ),
        loss=build_loss(
            recipe.loss,
            task=folder.task,
            classes=len(folder.classes),
            class_weights=recipe.class_weights,
            background=folder.background,
        ),
        mean=mean,
        std=std,
    )
    build_segmenter(plan, folder)  # for its faults alone: the one that is trained is built from the member's seed
    return plan


def build_segmenter(plan: Plan, folder: DatasetFolder) -> Segmenter:
    """The member's model with random first weights (or those its backbone names), from torch's own seed.

    Its backbone is frozen and recomputed as the recipe says.

    Raises:
        UsageError: an unknown part or option.
        RecipeError: ``train.freeze`` counts more stages than there are.
    """
    model, data, train = plan.member.model, plan.member.data, plan.member.train
    segmenter = Segmenter.create(
        model.backbone.model_dump(),
        neck=model.neck.model_dump(),
        head=model.head.model_dump(),
        stem=model.stem,
        in_channels=data.channels,
        classes=folder.classes,
        task=folder.task,
        background=folder.background,
        window=data.window,
        mean=plan.mean,
        std=plan.std,
        auxiliary=model.auxiliary,
        input_size=model.input_size,
        output_size=model.output_size,
    )
    try:
        segmenter.backbone.freeze(train.freeze)
    except ValueError as error:
        raise RecipeError(f"{plan.member.name}: train.freeze={train.freeze}: {error}") from error
    if train.gradient_checkpointing:
        recompute_stages(segmenter.backbone)
    return segmenter


def data_digest(plans: Sequence[Plan], folder: DatasetFolder) -> str:
    """Hexadecimal digest of what is trained and validated on, the same for a copy of the dataset elsewhere.

    It covers what values mean, the files' names and sizes in order, and the measured normalisation: reading every byte
    would take long where there are many.
    """
    digest = hashlib.sha256(repr((folder.task, folder.classes, folder.background, folder.ignore_index)).encode())
    for plan in plans:
        digest.update(repr((plan.mean, plan.std)).encode())
        for sample in (*plan.samples, *plan.validation):
            digest.update(repr((sample.name, list(_sizes(sample)))).encode())
    return digest.hexdigest()


def _sizes(sample: Sample) -> Iterator[int]:
    for path in (sample.image, sample.mask, sample.depth, sample.roi):
        files: list[Path] = [] if path is None else sorted(path.iterdir()) if path.is_dir() else [path]
        yield from (file.stat().st_size for file in files)


def _normalisation(
    data: DataRecipe, samples: Sequence[Sample], reader: Reader
) -> tuple[Sequence[float] | None, Sequence[float] | None]:
    if data.normalisation == "dataset":
        return channel_statistics(samples, reader)
    if data.normalisation == "none":
        return (0.0,) * data.channels, (1.0,) * data.channels
    if data.channels != 3:
        raise RecipeError(f"data.normalisation=imagenet is for 3 channels, not {data.channels}; use dataset")
    return None, None
