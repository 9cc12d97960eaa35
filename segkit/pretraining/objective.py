"""What pretraining is for, as its engine sees it: a model, batches, a loss, figures, and what is left in the end."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor, nn

Batch = dict[str, Any]
"""Tensors on the device; ``name`` is a list of strings, one for each image or pair."""


class Batches(Protocol):
    """The batches of one epoch."""

    def __len__(self) -> int:
        """How many there are, 1 or more."""
        ...

    def __iter__(self) -> Iterator[Batch]:
        """Each of them, the same ones every time."""
        ...


class Objective(Protocol):
    """One thing that a backbone can be trained for; its module's ``create(recipe, device)`` makes it.

    ``create`` reads what the model depends on (classes, normalisation), and draws first weights from torch's own
    random numbers, which the engine has seeded. The engine moves the model to the device.

    Attributes:
        model: all that is trained. Its backbones (:class:`segkit.backbones.backbone.Backbone`) have a learning rate by
            stage where the recipe has a ``layer_decay``.
        headline: the name of the validation figure that decides which weights are best; higher is better.
        dataset: its name.
        digest: hexadecimal digest of what is trained and validated on, the same for a copy of the data elsewhere: a
            run is resumed only where it is what it was.
    """

    model: nn.Module
    headline: str
    dataset: str
    digest: str

    def prepare(self) -> list[str]:
        """Read the data; what is to be said of it."""
        ...

    def epoch(self, number: int) -> Batches:
        """The batches of an epoch, counted from 0: they depend on (seed, number) alone."""
        ...

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Scalar loss of a batch, and further scalars, of which the epoch's table has the means.

        Called under autocast, with the model in training mode. Random numbers are torch's own, which every epoch begins
        anew from (seed, epoch).
        """
        ...

    def validate(self) -> dict[str, float]:
        """Figures of the validation split, ``headline`` among them.

        Called under autocast and without gradients, with the model in evaluation mode and the averaged weights in.
        """
        ...

    def save(self, run: Path) -> None:
        """Write what the run is for into its folder: ``backbone.safetensors``, ``model/``, tables and pictures.

        Called with the weights that are kept, in evaluation mode; also after Ctrl-C, then without a last validation.
        """
        ...
