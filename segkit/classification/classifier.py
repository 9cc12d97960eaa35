"""Classifier: a backbone's coarsest map, normalised and averaged, to one logit a class for the whole image."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from segkit import backbones
from segkit.backbones.backbone import Backbone
from segkit.errors import UsageError
from segkit.labelled.view import View
from segkit.model_arguments import Named, channel_count, class_names, normalisation, part, without_weights
from segkit.tensor_checks import check_images


class Classifier(nn.Module):
    """Map images to one logit a class, [B, K]; build one with :meth:`create`.

    The head is Swin's (Liu et al., ICCV 2021): LayerNorm of the coarsest level, mean over its pixels, linear layer.

    Args:
        backbone: image → pyramid; its coarsest level is classified.
        classes: names of the classes, in the order of their ids.
        mean, std: per-channel normalisation of images in 0..1, kept as buffers.
        view: what of an image it is given in evaluation and prediction; None: all of it, at its own size.
        architecture: what :meth:`create` was called with, so that a saved model can be built again.

    Attributes:
        channels: of the images that it takes.
        about: what it was trained on, its figures, and what else is to be saved with it.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        backbone: Backbone,
        *,
        classes: Sequence[str],
        mean: Sequence[float],
        std: Sequence[float],
        view: View | None = None,
        architecture: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.classes = tuple(classes)
        self.architecture = dict(architecture) if architecture is not None else None
        self.about: dict[str, Any] = {}
        self.view, self.channels = view, len(mean)
        self.backbone = backbone
        self.norm = nn.LayerNorm(backbone.channels[-1])
        self.head = nn.Linear(backbone.channels[-1], len(self.classes))
        nn.init.trunc_normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(1, -1, 1, 1))

    @classmethod
    def create(
        cls,
        backbone: Named,
        *,
        classes: int | Sequence[str],
        in_channels: int = 3,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        view: View | None = None,
    ) -> "Classifier":
        """Build a classifier from names.

        Args:
            backbone: a name (``segkit models`` lists them) or ``{"name": …, option: value}``.
            classes: names of the classes, or their number.
            in_channels: channels of the input.
            mean, std: normalisation in 0..1; by default ImageNet's for three channels, 0.5 and 0.25 otherwise.
            view: what of an image it is given in evaluation and prediction; None: all of it, at its own size.

        Raises:
            UsageError: an unknown name, option or combination.
        """
        names, in_channels = class_names(classes), channel_count(in_channels)
        mean, std = normalisation(mean, std, in_channels)
        try:
            body = backbones.create(**part(backbone), in_channels=in_channels)
        except (ValueError, TypeError) as error:
            raise UsageError(str(error)) from error
        # Weights to start from are not part of the shape: a saved model brings its own.
        architecture = {"backbone": without_weights(part(backbone)), "in_channels": in_channels}
        return cls(body, classes=names, mean=mean, std=std, view=view, architecture=architecture)

    def forward(self, image: Tensor) -> Tensor:
        """Logits float [B, K] of images float32 [B, C, H, W] in 0..1, any H and W."""
        logits: Tensor = self.head(self.features(image))
        return logits

    def features(self, image: Tensor) -> Tensor:
        """What the linear layer reads: the normalised coarsest level, mean over its pixels, float [B, D]."""
        check_images(image, self.mean)
        coarsest = self.backbone((image - self.mean) / self.std)[-1]
        tokens: Tensor = self.norm(coarsest.permute(0, 2, 3, 1))  # [B, h, w, D]
        return tokens.mean(dim=(1, 2))

    def probabilities(self, image: Tensor) -> Tensor:
        """Probabilities float32 [B, K], softmax over the classes."""
        logits: Tensor = self(image).float()
        return logits.softmax(1)
