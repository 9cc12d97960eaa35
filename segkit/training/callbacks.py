"""What is done to the weights beside the steps: averaged ones validated, the best ones kept; and the samples drawn."""

import time
from collections.abc import Callable, Mapping

import lightning as L
import torch
from torch import Tensor

from segkit.training.module import TrainingModule

PICTURE_SECONDS = 60.0


class AveragedValidation(L.Callback):
    """Validate with the averaged weights; training goes on with its own."""

    def on_validation_start(self, _trainer: L.Trainer, module: L.LightningModule) -> None:
        """Put the averaged weights in."""
        assert isinstance(module, TrainingModule)
        self._swap = module.average.applied_to(module.segmenter) if module.average else None
        if self._swap is not None:
            self._swap.__enter__()

    def on_validation_end(self, _trainer: L.Trainer, _module: L.LightningModule) -> None:
        """Put training's own weights back."""
        if self._swap is not None:
            self._swap.__exit__(None, None, None)


class KeepBest(L.Callback):
    """Keep a copy of the weights that scored best in validation."""

    weights: dict[str, Tensor] | None = None
    score = float("-inf")

    def on_validation_end(self, _trainer: L.Trainer, module: L.LightningModule) -> None:
        """Copy the validated weights where the score is the best so far; ties keep the earlier."""
        assert isinstance(module, TrainingModule)
        if module.score is not None and module.score[1] > self.score:
            state = module.segmenter.state_dict()
            if all(bool(torch.isfinite(tensor).all()) for tensor in state.values()):
                self.score = module.score[1]
                self.weights = {name: tensor.detach().clone() for name, tensor in state.items()}


class SamplePictures(L.Callback):
    """Draw the same few pictures with ``draw`` when the model is validated, while the averaged weights are in."""

    def __init__(self, draw: Callable[[], None]) -> None:
        self.draw = draw
        self._drawn = time.perf_counter()

    def on_validation_end(self, _trainer: L.Trainer, _module: L.LightningModule) -> None:
        """Show what the validated weights do, at most this often; drawing must not slow training down."""
        if time.perf_counter() - self._drawn > PICTURE_SECONDS:
            self.draw()
            self._drawn = time.perf_counter()


def kept_weights(module: TrainingModule, best: KeepBest | None) -> Mapping[str, Tensor]:
    """The weights that training is for: the best validated ones, else the averaged, else the last."""
    if best is not None and best.weights is not None:
        return best.weights
    if module.average is None:
        return module.segmenter.state_dict()
    with module.average.applied_to(module.segmenter):
        return {name: tensor.detach().clone() for name, tensor in module.segmenter.state_dict().items()}
