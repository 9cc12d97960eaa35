"""One segmenter being trained: its step, its loss, its validation score."""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from segkit.data.batches import joined
from segkit.data.masks import IGNORE
from segkit.evaluation.metrics import SegmentationMetrics, headline
from segkit.labels import labels_of
from segkit.model import Segmenter
from segkit.prediction.bands import tiled
from segkit.recipe import PredictRecipe, TrainRecipe
from segkit.training.beside import spread_loss
from segkit.training.coarse import coarse_target
from segkit.training.network_module import NetworkModule, fitting_sizes

AUXILIARY_WEIGHT = 0.4  # all auxiliary losses together, against the main one (Zhao et al., CVPR 2017)


class TrainingModule(NetworkModule):
    """Train ``segmenter`` with ``loss``."""

    def __init__(
        self, segmenter: Segmenter, loss: nn.Module, train: TrainRecipe, predict: PredictRecipe, *, updates: int
    ) -> None:
        super().__init__(segmenter, train, updates=updates, frozen=train.unfreeze is not None)
        self.loss, self.predict_recipe = loss, predict
        self._metrics: SegmentationMetrics | None = None

    @property
    def segmenter(self) -> Segmenter:
        """What is trained."""
        assert isinstance(self.network, Segmenter)
        return self.network

    def training_step(self, batch: dict[str, Any], _index: int) -> Tensor:
        """Scalar loss of a batch: the main logits', and the auxiliary heads' at a smaller weight.

        Raises RecipeError where the batch is too small for BatchNorm.
        """
        model, beside = self.segmenter, batch.get("beside")
        spread = None
        with fitting_sizes(len(batch["image"]), "larger crops (data.crop)"):
            if model.spread is not None:
                (main, *auxiliary), spread = model.forward_with_spread(batch["image"], batch["depth"])
            else:
                main, *auxiliary = model.forward_levels(batch["image"], batch["depth"])
        told = self._told(batch["target"], batch["weight"], beside)
        loss: Tensor = self.loss(main, *told)
        for place, logits in enumerate(auxiliary, start=1):
            if model.depth_auxiliary and place == len(auxiliary):  # which says nothing of pictures without depth
                without = ~(batch["depth"][:, -1] > 0).flatten(1).any(1)
                also = None if beside is None else _ignored(beside, without)
                told = self._told(_ignored(batch["target"], without), batch["weight"], also)
            loss = loss + AUXILIARY_WEIGHT / len(auxiliary) * self.loss(logits, *told)
        if spread is not None and beside is not None:
            loss = loss + spread_loss(spread, beside)
        return loss

    def _told(self, target: Tensor, weight: Tensor | None, beside: Tensor | None) -> tuple[Tensor | None, ...]:
        """What a loss holds logits against: target, weight and what lies beside, on the grid that the model learns."""
        model = self.segmenter
        if model.output_size is not None:
            target, weight = coarse_target(target, model.output_size, model.task, len(model.classes))
        return (target, weight) if beside is None else (target, weight, beside)

    def clipped_together(self) -> Iterator[Iterable[nn.Parameter]]:
        """All but the second head's, and those: it must not move what it only reads."""
        spread = [] if self.segmenter.spread is None else list(self.segmenter.spread.parameters())
        apart = set(spread)
        yield [parameter for parameter in self.segmenter.parameters() if parameter not in apart]
        yield spread

    def on_after_batch_transfer(self, batch: dict[str, Any], _index: int) -> dict[str, Any]:
        """Put the images into the memory layout that convolutions are fastest in."""
        batch["image"] = batch["image"].contiguous(memory_format=torch.channels_last)
        return batch

    def on_validation_epoch_start(self) -> None:
        """Begin a new count."""
        model = self.segmenter
        self._metrics = SegmentationMetrics(model.classes, model.task, model.background, self.predict_recipe.threshold)

    def validation_step(self, batch: dict[str, Any], _index: int) -> None:
        """Count one whole picture."""
        assert self._metrics is not None
        recipe = self.predict_recipe
        with fitting_sizes(1, "larger crops (data.crop)"):
            probabilities = tiled(self.segmenter.probabilities, joined(batch), tile=recipe.tile, overlap=recipe.overlap)
        for name, maps, target in zip(batch["name"], probabilities.cpu().numpy(), batch["target"], strict=True):
            self._metrics.update(name, labels_of(maps, self.segmenter.task, recipe.threshold), target.cpu().numpy())

    def on_validation_epoch_end(self) -> None:
        """Read the score off, for early stopping and the tables."""
        self.log("score", self.read_score(), logger=False)  # the table logs it, by epoch

    def read_score(self) -> float:
        """The score of the pictures counted."""
        assert self._metrics is not None
        name, value = headline(self._metrics.compute())
        self.score = name, float(value)
        self.scored_epoch = self.trainer.current_epoch
        return self.score[1]


def _ignored(maps: Tensor, pictures: Tensor) -> Tensor:
    """Maps [B, ...] with nothing that counts in some pictures, bool [B]."""
    return maps.masked_fill(pictures.view(-1, *[1] * (maps.ndim - 1)), IGNORE)
