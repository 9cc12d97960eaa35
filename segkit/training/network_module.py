"""One network being trained, whatever it learns: its optimiser and schedule, its averaged weights, its last score."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import lightning as L
import torch
from torch import nn

from segkit.backbones.backbone import ImageTooLargeError
from segkit.errors import RecipeError
from segkit.sections import OptimisationRecipe
from segkit.training.average import WeightAverage
from segkit.training.optimizer import create_optimizer, schedule

TOO_FEW = "Expected more than 1 value per channel"  # as PyTorch's BatchNorm begins


@contextmanager
def fitting_sizes(images: int, larger: str) -> Iterator[None]:
    """RecipeError where a batch of so many has too few values for BatchNorm, or its images are larger than are taken.

    ``larger`` says what might be larger where there are too few.
    """
    try:
        yield
    except ImageTooLargeError as error:
        raise RecipeError(str(error)) from error
    except ValueError as error:
        if not str(error).startswith(TOO_FEW):
            raise
        raise RecipeError(
            f"a batch of {images} is too few for BatchNorm, which compares what is in it; take images and train.batch "
            f"of 2 or more, {larger}, or a backbone without it, as swin"
        ) from error


class NetworkModule(L.LightningModule):
    """Train ``network``; ``average`` holds its averaged weights, which are the ones validated.

    Args:
        network: what is trained, saved and kept.
        train: how.
        updates: of the optimiser in the whole run.
        frozen: whether what is frozen will learn later.
        fused: whether the optimiser is one kernel also on a GPU; None: on processors alone.
        place: where the run is, in updates, when so many are done; None: there.
    """

    def __init__(
        self,
        network: nn.Module,
        train: OptimisationRecipe,
        *,
        updates: int,
        frozen: bool = False,
        fused: bool | None = None,
        place: Callable[[int], float] | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.train_recipe, self.updates = train, updates
        self.average = WeightAverage(network, decay=train.ema) if train.ema else None
        self.done = 0  # updates
        self.score: tuple[str, float] | None = None  # of the last validation; higher is better
        self.scored_epoch: int | None = None
        self.diverged: str | None = None  # why training can't go on
        self._frozen, self._fused, self._place = frozen, fused, place

    @property
    def progress(self) -> float:
        """The share of the run that is done, 0..1."""
        place = float(self.done) if self._place is None else self._place(self.done)
        return min(1.0, place / self.updates)

    def columns(self, epoch: int) -> dict[str, float | str]:
        """What the epoch's row in the table has beside the loss; an empty string where it has nothing."""
        score = self.score if self.scored_epoch == epoch else None
        return {"score": score[1] if score else "", "score_name": score[0] if score else ""}

    def told(self, epoch: int) -> str:
        """The same for a line in the log, two spaces before each figure."""
        if self.score is None or self.scored_epoch != epoch:
            return ""
        return f"  {self.score[0]} {self.score[1]:.4f}"

    def configure_optimizers(self) -> Any:
        """The optimiser with its groups, and the schedule that advances with every update."""
        recipe = self.train_recipe
        optimizer = create_optimizer(
            self.network,
            lr=recipe.learning_rate,
            weight_decay=recipe.weight_decay,
            betas=recipe.betas,
            layer_decay=recipe.layer_decay,
            frozen=self._frozen,
            fused=self._fused,
            name=recipe.optimizer,
        )
        decay = schedule(
            optimizer,
            kind=recipe.schedule,
            steps=self.updates,
            warmup_steps=round(recipe.warmup * self.updates),
            place=self._place,
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": decay, "interval": "step"}}

    def configure_gradient_clipping(self, *_: Any, **__: Any) -> None:
        """Scale the gradients down to the recipe's largest norm; Lightning itself refuses to with a fused optimiser.

        Those of the last steps of an epoch, where they are fewer than are summed into one update otherwise, become
        their mean before. Right as long as the gradients are unscaled here, which is why fp16 takes the unfused one.
        """
        summed = self.train_recipe.accumulate
        rest = int(self.trainer.num_training_batches) % summed if summed > 1 and self.trainer.is_last_batch else 0
        for parameters in map(list, self.clipped_together()):
            if rest:
                for parameter in parameters:
                    if parameter.grad is not None:
                        parameter.grad.mul_(summed / rest)
            if self.train_recipe.clip is not None:
                torch.nn.utils.clip_grad_norm_(parameters, self.train_recipe.clip)

    def clipped_together(self) -> Iterator[Iterable[nn.Parameter]]:
        """Parameters whose gradients have one norm."""
        yield self.network.parameters()

    def on_train_batch_end(self, *_: Any) -> None:
        """Follow the weights after each update, not after each accumulated batch."""
        if self.trainer.global_step > self.done:
            self.updated()

    def updated(self) -> None:
        """Count an update, and let the averaged weights follow."""
        self.done += 1
        if self.average is not None:
            self.average.update(self.network)
