"""The objective ``classify``: a backbone learns the classes of whole images."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from segkit.artifact import save
from segkit.classification.classifier import Classifier
from segkit.classification.confusion import confusion_matrix, draw_confusion, write_confusion
from segkit.classification.scores import TOP, ranks
from segkit.errors import DataError
from segkit.labelled.batch_augmentation import BatchAugmentation
from segkit.labelled.held import HeldImages
from segkit.labelled.images import LabelledImages
from segkit.labelled.mixing import Mixing
from segkit.labelled.opening import open_labelled
from segkit.labelled.statistics import channel_statistics
from segkit.labelled.view import View
from segkit.prediction.at_once import AtOnce
from segkit.pretraining.augmented import VALIDATED, AugmentedImages, floats, validation_indices
from segkit.pretraining.backbone_file import BACKBONE, write_backbone
from segkit.pretraining.digest import digest_of
from segkit.pretraining.objective import Batch, Batches
from segkit.pretraining.recipe import PretrainRecipe
from segkit.training.normalisation import image_normalisation


class ClassifyObjective:
    """Labelled images and a classifier of them; see :class:`segkit.pretraining.objective.Objective`.

    Args:
        recipe: with a section ``classify``.
        device: where batches are.

    Raises:
        DataError: nothing usable at the path, one class alone, no such split, or images without label in it.
        RecipeError, UsageError: values that don't go together, or unknown parts.
    """

    headline = "top1"

    def __init__(self, recipe: PretrainRecipe, device: torch.device) -> None:
        data, options = recipe.data, recipe.classify
        assert options is not None
        assert recipe.augment is not None
        assert data.path is not None
        self.recipe, self.device, self.smoothing = recipe, device, options.label_smoothing
        self.images = open_labelled(data.path)
        if len(self.images.classes) < 2:
            raise DataError(f"{self.images.path}: one class alone, {self.images.classes[0]!r}; classes are two or more")
        self.chosen = self.images.indices(*data.train_on)
        _check_labelled(self.images, self.chosen, data.train_on)
        self.held_out = validation_indices(self.images, data.validate_on)
        if self.held_out is not None:
            _check_labelled(self.images, self.held_out, [str(data.validate_on)])
        self.view = View.usual(data.shape) if data.share is None else View(size=data.shape, share=data.share)
        mean, std = image_normalisation(
            data.normalisation, data.channels, lambda: channel_statistics(self.images, self.chosen, data.channels)
        )
        self.dataset = self.images.name
        names, labels = self.images.names, self.images.labels
        parts = [() if each is None else each for each in (self.chosen, self.held_out)]
        rows = ([(names[i], int(labels[i])) for i in part] for part in parts)
        self.digest = digest_of((self.images.classes, mean, std), *rows)
        self.classifier = Classifier.create(
            recipe.model.backbone.model_dump(),
            classes=self.images.classes,
            in_channels=data.channels,
            mean=mean,
            std=std,
            view=self.view,
        )
        self.model: nn.Module = self.classifier
        self._augment = BatchAugmentation(recipe.augment, data.shape, channels=data.channels)
        mixes = options.mix and (options.mixup or options.cutmix)
        classes = len(self.images.classes)
        self._mix = Mixing(classes, mixup=options.mixup, cutmix=options.cutmix, share=options.mix) if mixes else None
        self._train: HeldImages | None = None
        self._validation: HeldImages | None = None
        self._confusion: NDArray[np.int64] | None = None

    def prepare(self) -> list[str]:
        """Decode the images where memory holds them; what is to be said of them."""
        data = self.recipe.data
        self._train = HeldImages(
            self.images,
            self.chosen,
            channels=data.channels,
            size=data.shape,
            cache=data.cache,
            device=self.device,
        )
        notes = [*self.images.notes, f"{len(self.chosen)} images of {len(self.images.classes)} classes to train on"]
        if self.held_out is not None:
            self._validation = HeldImages(
                self.images,
                self.held_out,
                channels=data.channels,
                size=self.view,
                cache=data.cache,
                device=self.device,
            )
            notes.append(f"{len(self.held_out)} images of {data.validate_on} to validate on")
        if not self._train.held:
            notes.append("the images are read anew in each epoch; memory doesn't hold them, or data.cache is false")
        return notes

    def epoch(self, number: int) -> Batches:
        """The batches of an epoch, augmented and mixed on the device."""
        assert self._train is not None
        self._confusion = None  # which is of weights that will have changed
        return _Epoch(self._train, self._augment, self._mix, self.recipe, number)

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross-entropy with label smoothing; the share of images whose largest logit is of their largest class."""
        logits, target = self.model(batch["image"]).float(), batch["target"]
        truth = target if target.ndim == 1 else target.argmax(1)
        right = (logits.detach().argmax(1) == truth).float().mean()
        return F.cross_entropy(logits, target, label_smoothing=self.smoothing), {"train_top1": right}

    def validate(self) -> dict[str, float]:
        """Cross-entropy without smoothing, top-1 and top-5 of the validation split."""
        assert self._validation is not None
        at_once = AtOnce(VALIDATED)
        found = [
            at_once.ask(self.model, floats(batch["image"])).float()
            for batch in self._validation.batches(VALIDATED, shuffle=False, workers=self.recipe.train.workers)
        ]
        logits, labels = torch.cat(found).cpu(), self._validation.labels
        places = ranks(logits.numpy(), labels.numpy())
        self._confusion = confusion_matrix(labels.numpy(), logits.argmax(1).numpy(), logits.shape[1])
        return {
            "validation_loss": float(F.cross_entropy(logits, labels)),
            "top1": float((places < 1).mean()),
            "top5": float((places < TOP).mean()),
        }

    def save(self, run: Path) -> None:
        """Write the classifier, its backbone's weights, and the confusions of the last validation."""
        save(self.classifier, run / "model")
        write_backbone(self.classifier.backbone, run / BACKBONE)
        if self._confusion is not None:
            write_confusion(self._confusion, self.images.classes, run / "confusion.csv")
            draw_confusion(self._confusion, self.images.classes, run / "confusion.png")


def create(recipe: PretrainRecipe, device: torch.device) -> ClassifyObjective:
    """The objective of a recipe with a section ``classify``."""
    return ClassifyObjective(recipe, device)


class _Epoch(AugmentedImages):
    """The batches of one epoch: ``image`` float32 [B, C, h, w] in 0..1, ``target`` int64 [B] or float32 [B, K]."""

    def __init__(
        self, held: HeldImages, augment: BatchAugmentation, mix: Mixing | None, recipe: PretrainRecipe, number: int
    ) -> None:
        super().__init__(held, augment, recipe.train, number)
        self._mix = mix

    def __iter__(self) -> Iterator[Batch]:
        for step, batch, image in self.images():
            target = batch["target"]
            if self._mix is not None:
                image, target = self._mix(image, target, step)
            image = image.contiguous(memory_format=torch.channels_last)
            yield {"image": image, "target": target, "name": batch["name"]}


def _check_labelled(images: LabelledImages, found: NDArray[np.int64], splits: Sequence[str]) -> None:
    """Raise DataError where there are none of the splits' images, or some without label."""
    named = " and ".join(splits)
    if not len(found):
        raise DataError(f"{images.path}: no images in {named}")
    without = found[images.labels[found] < 0]
    if len(without):
        raise DataError(
            f"{images.path}: {images.names[without[0]]} in {named} has no label, as {len(without)} of {len(found)}; "
            "choose a split whose images have one"
        )
