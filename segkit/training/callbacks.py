"""What is done beside the steps: random numbers by epoch, averaged weights validated, the best kept, samples drawn."""

import math
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import partial
from typing import Any

import lightning as L
import numpy as np
import torch
from torch import Tensor

from segkit.data.dataset import SegmentationDataset
from segkit.model import Segmenter
from segkit.training.allowance import Allowance
from segkit.training.module import TrainingModule
from segkit.training.network_module import NetworkModule
from segkit.training.population import learning_norms, measure_norms, plain_batches

FIXED_FROM = 0.8  # of the epochs


def epoch_seed(seed: int, epoch: int) -> int:
    """What an epoch's random numbers begin from."""
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])


class EpochSeed(L.Callback):
    """Begin every epoch with its own random numbers, from (seed, epoch): it is the same whatever came before it."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def on_train_epoch_start(self, trainer: L.Trainer, _module: L.LightningModule) -> None:
        """Seed PyTorch, on all devices; drop path draws from it."""
        torch.manual_seed(epoch_seed(self._seed, trainer.current_epoch))


class Thaw(L.Callback):
    """Let what is frozen learn after a share of the epochs."""

    def __init__(self, share: float, epochs: int) -> None:
        # 0.07 * 100 is a little more than 7; the last epoch is thawed at least.
        self.first = min(math.ceil(round(share * epochs, 9)), epochs - 1)

    def on_train_epoch_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Thaw the whole model, in every one of these epochs, as a resumed run begins anywhere."""
        assert isinstance(module, TrainingModule)
        if trainer.current_epoch >= self.first:
            module.segmenter.freeze(0)


class FixedNorms(L.Callback):
    """Train the last fifth of the epochs with BatchNorm's statistics fixed at those of whole pictures' crops.

    A network that has only seen the statistics of its own batches is another one when it predicts, with fixed ones:
    where pictures differ much it drew everything too large. Now its last weights are learnt as they are used (Wu and
    Johnson, Rethinking "Batch" in BatchNorm, 2021).
    """

    def __init__(self, dataset: SegmentationDataset, batch: int, epochs: int) -> None:
        self._dataset, self._batch, self._epochs = dataset, batch, epochs
        self.first = math.ceil(FIXED_FROM * epochs)

    def on_train_epoch_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Measure them once, before the first of these epochs; they stay as they are from then on."""
        assert isinstance(module, TrainingModule)
        if trainer.current_epoch < self.first:
            return
        norms = learning_norms(module.segmenter)
        if trainer.current_epoch == self.first and norms:
            with trainer.precision_plugin.forward_context():
                self._measure(module.segmenter)
            if module.average is not None:
                module.average.take_statistics(module.segmenter)
        for norm in norms:
            norm.eval()

    def _measure(self, segmenter: Segmenter) -> None:
        batches = partial(plain_batches, self._dataset, self._batch, self._epochs)
        try:
            measure_norms(segmenter, batches())
        except torch.OutOfMemoryError:  # of batches that are larger than those of training
            torch.cuda.empty_cache()
            measure_norms(segmenter, (part for images in batches() for part in torch.split(images, self._batch)))


class AveragedValidation(L.Callback):
    """Validate with the averaged weights; training goes on with its own."""

    def on_validation_start(self, _trainer: L.Trainer, module: L.LightningModule) -> None:
        """Put the averaged weights in."""
        assert isinstance(module, NetworkModule)
        self._swap = module.average.applied_to(module.network) if module.average else None
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
        assert isinstance(module, NetworkModule)
        if module.score is not None and module.score[1] > self.score:
            state = module.network.state_dict()
            if all(bool(torch.isfinite(tensor).all()) for tensor in state.values()):
                self.score = module.score[1]
                self.weights = {name: tensor.detach().to("cpu", copy=True) for name, tensor in state.items()}

    def state_dict(self) -> dict[str, Any]:
        """Score and weights, for a checkpoint."""
        return {"score": self.score, "weights": self.weights}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take them back."""
        self.score, self.weights = state_dict["score"], state_dict["weights"]


class SamplePictures(L.Callback):
    """Draw the same few pictures with ``draw`` when the model is validated, while the averaged weights are in."""

    def __init__(self, draw: Callable[[], None]) -> None:
        self._draw = draw
        self._allowance = Allowance()

    def on_validation_end(self, _trainer: L.Trainer, _module: L.LightningModule) -> None:
        """Show what the validated weights do, but not so often that it slows training down."""
        if self._allowance.due:
            with self._allowance.spend():
                self._draw()


def kept_weights(module: NetworkModule, best: KeepBest | None) -> Mapping[str, Tensor] | str:
    """The weights that training is for: the best validated, else the averaged, else the last; or why there are none."""
    if best is not None and best.weights is not None:
        return best.weights
    cure = "lower train.learning_rate, or set train.precision=fp32"
    if module.diverged is not None:
        return f"{module.diverged}; {cure}"
    with module.average.applied_to(module.network) if module.average is not None else nullcontext():
        weights = {name: tensor.detach().clone() for name, tensor in module.network.state_dict().items()}
    if not all(bool(tensor.isfinite().all()) for tensor in weights.values()):
        return f"the last weights are not finite; {cure}"
    return weights
