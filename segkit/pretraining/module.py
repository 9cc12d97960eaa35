"""An objective as Lightning trains it: its loss a step, its figures a validation."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from segkit.pretraining.growth import Growth
from segkit.pretraining.objective import Objective
from segkit.sections import OptimisationRecipe
from segkit.training.network_module import NetworkModule, fitting_sizes


class PretrainModule(NetworkModule):
    """Train an objective's model; the averaged weights are the ones validated.

    Args:
        objective: what is learnt.
        train: how.
        updates: of the optimiser in the whole run.
        fused: whether the optimiser is one kernel also on a GPU; None: on processors alone.
        place: where the run is, in updates, when so many are done; None: there.
        growth: of the images over the run.

    Attributes:
        figures: of the last validation.
    """

    def __init__(
        self,
        objective: Objective,
        train: OptimisationRecipe,
        *,
        updates: int,
        fused: bool | None = None,
        place: Callable[[int], float] | None = None,
        growth: Growth | None = None,
    ) -> None:
        super().__init__(objective.model, train, updates=updates, fused=fused, place=place)
        self.objective, self.growth = objective, growth
        self.figures: dict[str, float] = {}
        self._further: dict[str, list[Tensor]] = {}

    def on_train_epoch_start(self) -> None:
        """Begin the sums of what is said beside the loss."""
        self._further = {}

    def training_step(self, batch: dict[str, Any], _index: int) -> Tensor:
        """Scalar loss of a batch; RecipeError where it is too small for the backbone's BatchNorm."""
        if self.growth is not None:
            batch = {**batch, "image": self.growth.grown(batch["image"], self.progress)}
        with fitting_sizes(len(batch["name"]), "larger images (data.size)"):
            loss, further = self.objective.loss(batch)
        for name, value in further.items():
            self._further.setdefault(name, []).append(value.detach())
        return loss

    def validation_step(self, _batch: dict[str, Any], _index: int) -> None:
        """Ask the objective for its figures; the batch stands for all of them."""
        self.figures = {name: float(value) for name, value in self.objective.validate().items()}
        self.score = self.objective.headline, self.figures[self.objective.headline]
        self.scored_epoch = self.trainer.current_epoch

    def on_validation_epoch_end(self) -> None:
        """Give the score to early stopping."""
        assert self.score is not None
        self.log("score", self.score[1], logger=False)  # the table logs it, by epoch

    def columns(self, epoch: int) -> dict[str, float | str]:
        """Means of what the loss said beside itself, then the validation's figures, where it was in this epoch."""
        further = {name: float(torch.stack(values).float().mean()) for name, values in self._further.items()}
        return {**further, **self._figures_of(epoch)}

    def told(self, epoch: int) -> str:
        """The validation's figures for a line in the log."""
        return "".join(f"  {name.replace('_', ' ')} {value:.4f}" for name, value in self._figures_of(epoch).items())

    def _figures_of(self, epoch: int) -> dict[str, float]:
        return self.figures if self.scored_epoch == epoch else {}
