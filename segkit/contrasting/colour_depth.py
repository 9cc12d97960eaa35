"""Two encoders, of colour and of depth, that project what they see to one space."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from segkit import backbones
from segkit.backbones.backbone import Backbone
from segkit.backbones.weights import fold_depth
from segkit.contrasting.colour_depth_recipe import ColourDepthRecipe
from segkit.contrasting.losses import InfoNCE, MarginPairs, PairLoss
from segkit.contrasting.projection import DenseProjection, ImageProjection, at_places
from segkit.data.depth_encoding import DepthEncoding
from segkit.data.depth_format import DepthFormat
from segkit.errors import UsageError
from segkit.second_modality import encoding_of


@dataclass(frozen=True)
class Embedded:
    """Vectors of the shared space, of any length: of pairs, and of pairs of places.

    Attributes:
        colour, depth: [B, D], row i of both a pair.
        colour_places, depth_places: [N, D]; N is 0 where no places were asked for.
    """

    colour: Tensor
    depth: Tensor
    colour_places: Tensor
    depth_places: Tensor


class ColourDepth(nn.Module):
    """Colour and depth to one space, and the losses that bring them there; build one with :meth:`create`.

    As CLIP does with images and text (Radford et al., ICML 2021), here for two pictures of one scene (CMC, Tian et al.,
    ECCV 2020): whole pictures, and places in them. Its ``colour`` and ``depth`` are backbones of a bridged segmenter.

    Args:
        colour: sees the image.
        depth: sees the encoded depth, validity last.
        encoding: what is made of depth first.
        mean, std: per-channel normalisation of images in 0..1, kept as buffers.
        options: the recipe's section.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        colour: Backbone,
        depth: Backbone,
        encoding: DepthEncoding,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        options: ColourDepthRecipe,
    ) -> None:
        super().__init__()
        self.colour, self.depth, self.encoding, self.options = colour, depth, encoding, options
        self.colour_image, self.depth_image = (
            ImageProjection(body.channels, options.dim, parts=options.parts) if options.image else None
            for body in (colour, depth)
        )
        self.colour_dense, self.depth_dense = (
            DenseProjection(body.channels, body.strides, options.dim, stride=options.stride) if options.dense else None
            for body in (colour, depth)
        )
        self.image_loss = _loss(options, radius=0.0) if options.image else None
        self.dense_loss = _loss(options, radius=options.radius) if options.dense else None
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(1, -1, 1, 1))

    @classmethod
    def create(
        cls,
        backbone: Mapping[str, Any],
        depth: Mapping[str, Any],
        *,
        options: ColourDepthRecipe,
        mean: Sequence[float],
        std: Sequence[float],
        encoding: Mapping[str, Any] | None,
        depth_format: DepthFormat,
        depth_channels: int = 1,
    ) -> "ColourDepth":
        """Build one from names.

        Args:
            backbone, depth: name and options of the backbones.
            options: the recipe's section.
            mean, std: normalisation of images, which have as many channels.
            encoding: name and options of what is made of depth; None: metres, or plain where it isn't metric.
            depth_format: what the depth is.
            depth_channels: validity not counted.

        Raises:
            UsageError: an unknown name, option or combination.
        """
        try:
            told = encoding_of(encoding, depth_format, depth_channels)
            colour = backbones.create(**backbone, in_channels=len(mean))
            branch = backbones.create(**depth, in_channels=told.out_channels + 1, fold=fold_depth)
        except (ValueError, TypeError) as error:
            raise UsageError(str(error)) from error
        return cls(colour, branch, told, mean=mean, std=std, options=options)

    def forward(
        self, image: Tensor, depth: Tensor, place_image: Tensor | None = None, place_depth: Tensor | None = None
    ) -> Embedded:
        """The vectors of B pairs, and of N pairs of places in them.

        Args:
            image: float32 [B, C, H, W] in 0..1.
            depth: float32 [B, C' + 1, H', W'], values and validity.
            place_image, place_depth: int64 [N, 3], (picture, row, column) of a place in the image and in its depth.
        """
        colours: list[Tensor] = self.colour((image - self.mean) / self.std)
        depths: list[Tensor] = self.depth(self.encoding(depth))
        nothing = image.new_zeros(0, self.options.dim)
        whole, places = (nothing, nothing), (nothing, nothing)
        if self.colour_image is not None and self.depth_image is not None:
            whole = self.colour_image(colours), self.depth_image(depths)
        if self.colour_dense is not None and self.depth_dense is not None and place_image is not None:
            assert place_depth is not None
            places = (
                at_places(self.colour_dense(colours), self.colour_dense.stride, place_image),
                at_places(self.depth_dense(depths), self.depth_dense.stride, place_depth),
            )
        return Embedded(*whole, *places)

    def loss(self, found: Embedded, measured: Tensor, place: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Scalar, the weighted sum of the losses; and each of them, with the temperatures where there are any.

        Args:
            found: of a batch.
            measured: bool [B], whether anything of a picture's depth is; of the others nothing is to be learnt.
            place: [N, 3], (picture, row, column) of the pairs of places.
        """
        total, parts = torch.zeros((), device=measured.device), {}
        if self.image_loss is not None:
            parts["image_loss"] = self.image_loss(found.colour[measured], found.depth[measured])
            total = total + self.options.image * parts["image_loss"]
        if self.dense_loss is not None:
            parts["dense_loss"] = self.dense_loss(found.colour_places, found.depth_places, place=place)
            total = total + self.options.dense * parts["dense_loss"]
        for name, loss in (("image_temperature", self.image_loss), ("dense_temperature", self.dense_loss)):
            if isinstance(loss, InfoNCE):
                parts[name] = (-loss.log_scale).exp()
        return total, {name: value.detach() for name, value in parts.items()}


def _loss(options: ColourDepthRecipe, *, radius: float) -> PairLoss:
    if options.loss == "margin":
        return MarginPairs(margin=options.margin, radius=radius)
    return InfoNCE(temperature=options.temperature, radius=radius)
