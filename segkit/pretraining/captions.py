"""The objective ``captions``: a backbone and a text encoder learn which caption belongs to which image."""

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from segkit.artifact import save
from segkit.contrasting.caption_files import CaptionedImages, open_captions, own_captions
from segkit.contrasting.caption_retrieval import caption_recall
from segkit.contrasting.image_text import TEXTS, ImageText
from segkit.contrasting.tokens import pieces
from segkit.errors import DataError, RecipeError
from segkit.files import atomic_path
from segkit.labelled.batch_augmentation import BatchAugmentation, stream
from segkit.labelled.held import HeldImages
from segkit.labelled.statistics import channel_statistics
from segkit.labelled.view import View
from segkit.prediction.at_once import AtOnce
from segkit.pretraining.augmented import VALIDATED, AugmentedImages, floats, validation_indices
from segkit.pretraining.backbone_file import BACKBONE, write_backbone
from segkit.pretraining.digest import digest_of
from segkit.pretraining.objective import Batch, Batches
from segkit.pretraining.recipe import PretrainRecipe
from segkit.training.normalisation import image_normalisation

CAPTIONS = 3  # beside what is drawn for other ends in the same step


class CaptionsObjective:
    """Images with captions and a model of both; see :class:`segkit.pretraining.objective.Objective`.

    Every image is seen once an epoch, with one of its captions. No caption that an image has is a negative of it,
    whichever was drawn for it; taken for that, what is right would be unlearnt. Captions that the text encoder reads
    alike are one.

    Args:
        recipe: with a section ``captions``.
        device: where batches are.

    Raises:
        DataError: a list that can't be used, no such split, or nothing to tell one caption from another.
        RecipeError, UsageError: no list, values that don't go together, or unknown parts.
        ModelError: a text encoder's folder that can't be used.
    """

    headline = "r1"

    def __init__(self, recipe: PretrainRecipe, device: torch.device) -> None:
        assert recipe.captions is not None
        assert recipe.augment is not None
        assert recipe.data.path is not None
        data, options = recipe.data, recipe.captions
        if recipe.train.batch < 2:
            raise RecipeError("train.batch=1: a caption is told from the others of its batch; take 2 or more")
        self.recipe, self.options, self.device = recipe, options, device
        self.captioned: CaptionedImages = open_captions(recipe.data.path)
        images = self.captioned.images
        self.chosen = images.indices(*data.train_on)
        self._texts = self.captioned.texts(self.chosen)
        _check_telling(images.path, len(self.chosen), self._texts)
        self.held_out = validation_indices(images, data.validate_on)
        self.view = View.usual(data.shape) if data.share is None else View(size=data.shape, share=data.share)
        mean, std = image_normalisation(
            data.normalisation, data.channels, lambda: channel_statistics(images, self.chosen, data.channels)
        )
        self.dataset = images.name
        names, captions = images.names, self.captioned.captions
        parts = [() if each is None else each for each in (self.chosen, self.held_out)]
        self.digest = digest_of((mean, std), *([(names[i], captions[i]) for i in part] for part in parts))
        self.image_text = ImageText.create(
            recipe.model.backbone.model_dump(),
            captions=[text for index in self.chosen for text in self.captioned.captions[index]],
            text=options.text.model_dump(),
            dim=options.dim,
            temperature=options.temperature,
            length=options.length,
            words=options.words,
            in_channels=data.channels,
            mean=mean,
            std=std,
            view=self.view,
        )
        self.model: nn.Module = self.image_text
        self.numbers = self._numbers(self._texts)
        self.own = own_numbers(self.captioned.captions, self.chosen, self.numbers)
        held_out = self.held_out if self.held_out is not None else ()
        self.held_out_numbers = self._numbers(self.captioned.texts(held_out))
        self._augment = BatchAugmentation(recipe.augment, data.shape, channels=data.channels)
        self._train: HeldImages | None = None
        self._validation: HeldImages | None = None

    def prepare(self) -> list[str]:
        """Decode the images where memory holds them; what is to be said of them and of the captions."""
        data, images = self.recipe.data, self.captioned.images
        self._train = HeldImages(
            images, self.chosen, channels=data.channels, size=data.shape, cache=data.cache, device=self.device
        )
        notes = [
            *images.notes,
            f"{len(self.chosen):,} images with {_count(self.numbers):,} different captions to train on",
        ]
        if self.held_out is not None:
            self._validation = HeldImages(
                images, self.held_out, channels=data.channels, size=self.view, cache=data.cache, device=self.device
            )
            count, share = _count(self.held_out_numbers), self._own().mean()
            notes.append(
                f"{len(self.held_out):,} images with {count:,} different captions of {data.validate_on} held out: "
                f"r1 is {share:.1%} by chance"
            )
        cut = self.image_text.text.cut(self._texts)
        if cut:
            length = self.image_text.text.length
            why = "see captions.length" if length == self.options.length else "the text encoder reads no more"
            notes.append(f"{cut:,} captions are cut off after {length} tokens; {why}")
        if not self._train.held:
            notes.append("the images are read anew in each epoch; memory doesn't hold them, or data.cache is false")
        return notes

    def epoch(self, number: int) -> Batches:
        """The batches of an epoch, augmented on the device, each image with a caption drawn for it."""
        assert self._train is not None, "prepare() comes first"
        return _Epoch(self, self._train, self._augment, number)

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Symmetric InfoNCE of the batch's images and captions; the temperature."""
        seen, read = self.model(batch["image"], batch["tokens"])
        contrast = self.image_text.contrast
        loss: Tensor = contrast(seen, read, group=batch["group"], own=batch["own"])
        return loss, {"temperature": (-contrast.log_scale.detach()).exp()}

    def validate(self) -> dict[str, float]:
        """How the held-out images and all their captions find each other; the loss with the first of each."""
        assert self.held_out is not None
        captions, numbers = self.captioned.captions, self.held_out_numbers
        seen, read = self._held_out_vectors(_first_texts(numbers))
        first = torch.tensor([numbers[captions[index][0]] for index in self.held_out])
        own = own_numbers(captions, self.held_out, numbers)[torch.from_numpy(self.held_out)]
        contrast, losses = self.image_text.contrast, []
        for parts in zip(*(torch.split(each, self.recipe.train.batch) for each in (seen, first, own)), strict=True):
            images, group, theirs = (part.to(self.device) for part in parts)
            texts = read[parts[1]].to(self.device)
            losses.append(len(images) * contrast(images, texts, group=group, own=theirs))
        loss = float(torch.stack(losses).sum()) / len(seen)
        return {"validation_loss": loss, **caption_recall(seen, read, torch.from_numpy(self._own()))}

    def save(self, run: Path) -> None:
        """Write the model, its backbone's weights, and what caption each held-out image finds."""
        save(self.image_text, run / "model")
        write_backbone(self.image_text.image.backbone, run / BACKBONE)
        if self._validation is not None and self.held_out is not None:
            texts = _first_texts(self.held_out_numbers)
            with torch.no_grad():
                seen, read = self._held_out_vectors(texts)  # by the weights that are kept
            own, names = self._own(), self._validation.names
            _table(run / "retrieved.csv", names, texts, seen @ read.T, own)

    def _held_out_vectors(self, texts: list[str]) -> tuple[Tensor, Tensor]:
        """Unit vectors of the held-out images [N, D] and of texts [M, D], on the CPU."""
        assert self._validation is not None, "prepare() comes first"
        batches = self._validation.batches(VALIDATED, shuffle=False, workers=self.recipe.train.workers)
        at_once = AtOnce(VALIDATED)
        seen = [at_once.ask(self.image_text.encode_images, floats(batch["image"])).cpu() for batch in batches]
        return torch.cat(seen), self.image_text.encode_texts(texts).cpu()

    def _own(self) -> NDArray[np.bool_]:
        assert self.held_out is not None
        return own_captions([self.captioned.captions[index] for index in self.held_out], self.held_out_numbers)

    def _numbers(self, texts: Sequence[str]) -> dict[str, int]:
        """A number of what the text encoder reads of each text, from 0 in the order of their first use."""
        found: dict[str, int] = {}
        known: dict[tuple[int, ...], int] = {}
        for start in range(0, len(texts), TEXTS):
            part = texts[start : start + TEXTS]
            for text, ids, mask in zip(part, *self.image_text.text.tokenize(part), strict=True):
                found[text] = known.setdefault(tuple(ids[mask].tolist()), len(known))
        return found


def create(recipe: PretrainRecipe, device: torch.device) -> CaptionsObjective:
    """The objective of a recipe with a section ``captions``."""
    return CaptionsObjective(recipe, device)


class _Epoch(AugmentedImages):
    """The batches of one epoch: ``image`` float32 [B, C, h, w] in 0..1, ``tokens``, numbers of captions.

    ``group`` int64 [B] is that of the caption that was drawn, ``own`` int64 [B, K] those of all that the image has, -1
    where it has fewer than another.
    """

    def __init__(self, of: CaptionsObjective, held: HeldImages, augment: BatchAugmentation, number: int) -> None:
        super().__init__(held, augment, of.recipe.train, number)
        self._of = of

    def __iter__(self) -> Iterator[Batch]:
        captions, text = self._of.captioned.captions, self._of.image_text.text
        for step, batch, augmented in self.images():
            draws = stream(step, CAPTIONS)
            indices = batch["index"].tolist()
            said = [texts[draws.integers(len(texts))] for texts in (captions[index] for index in indices)]
            image = augmented.contiguous(memory_format=torch.channels_last)
            device = image.device
            yield {
                "image": image,
                "tokens": text.tokenize(said, spell=self._of.options.spell, generator=draws).to(device),
                "group": torch.tensor([self._of.numbers[each] for each in said]).to(device, non_blocking=True),
                "own": self._of.own[indices].to(device, non_blocking=True),
                "name": batch["name"],
            }


def own_numbers(captions: Sequence[Sequence[str]], chosen: Iterable[int], numbers: Mapping[str, int]) -> Tensor:
    """The numbers of the chosen images' captions, int64 [N, K] by image, -1 where it has fewer or isn't chosen."""
    found = {index: sorted({numbers[text] for text in captions[index]}) for index in chosen}
    own = torch.full((len(captions), max(map(len, found.values()))), -1)
    for index, each in found.items():
        own[index, : len(each)] = torch.tensor(each)
    return own


def _first_texts(numbers: Mapping[str, int]) -> list[str]:
    """Of each number the first text that has it."""
    found: dict[int, str] = {}
    for text, number in numbers.items():
        found.setdefault(number, text)
    return list(found.values())


def _count(numbers: Mapping[str, int]) -> int:
    return len(set(numbers.values()))


def _check_telling(path: Path, images: int, texts: Sequence[str]) -> None:
    """Raise DataError where no caption can be told from another: nothing would be learnt, without a word."""
    if images < 2:
        raise DataError(f"{path}: {images} image to train on; which caption is whose takes 2 or more")
    first = pieces(texts[0])
    if all(pieces(text) == first for text in texts):
        raise DataError(f"{path}: all images to train on have a caption of the same words; nothing tells them apart")


def _table(path: Path, names: list[str], texts: list[str], similar: Tensor, own: NDArray[np.bool_]) -> None:
    """Of every held-out image the most similar caption, the cosine, and whether it is one of its own."""
    value, best = similar.max(1)
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "caption", "similarity", "own"])
        for row, (name, cosine, number) in enumerate(zip(names, value.tolist(), best.tolist(), strict=True)):
            writer.writerow([name, texts[number], f"{cosine:.4f}", "yes" if own[row, number] else "no"])
