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
from segkit.contrasting.projection import DenseProjection, at_places, in_parts
from segkit.data.depth_encoding import DepthEncoding
from segkit.data.depth_format import DepthFormat
from segkit.errors import UsageError
from segkit.second_modality import encoding_of


@dataclass(frozen=True)
class Embedded:
    """Vectors of the shared space, whose lengths mean nothing: of pairs, and of pairs of places.

    Attributes:
        colour, depth: [B, parts² · D], row i of both a pair; B is 0 where there is no loss of whole pictures.
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
    Whole pictures are told by their parts, see :func:`segkit.contrasting.projection.in_parts`.

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
        self.colour_projection, self.depth_projection = (
            DenseProjection(body.channels, body.strides, options.dim, stride=options.stride) for body in (colour, depth)
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
        self, image: Tensor, depth: Tensor, place: Tensor | None = None, offset: tuple[int, int] = (0, 0)
    ) -> Embedded:
        """The vectors of B pairs, and of N pairs of places in them.

        Args:
            image: float32 [B, C, H, W] in 0..1.
            depth: float32 [B, C' + 1, H, W], values and validity.
            place: int64 [N, 3], (picture, row, column) of places in depth.
            offset: what is added to the row and the column of a place in depth to have the same in the image.
        """
        colours: list[Tensor] = self.colour((image - self.mean) / self.std)
        depths: list[Tensor] = self.depth(self.encoding(depth))
        cells = self.colour_projection(colours), self.depth_projection(depths)
        strides = self.colour_projection.stride, self.depth_projection.stride
        whole: tuple[Tensor, ...] = (image.new_zeros(0, self.options.dim),) * 2
        places = whole
        if self.image_loss is not None:
            shown = [side - abs(step) for side, step in zip(image.shape[2:], offset, strict=True)]
            windows = [(max(0, y), max(0, x), *shown) for y, x in (offset, (-offset[0], -offset[1]))]
            whole = tuple(
                in_parts(each, stride, (top, left, height, width), self.options.parts)
                for each, stride, (top, left, height, width) in zip(cells, strides, windows, strict=True)
            )
        if self.dense_loss is not None and place is not None:
            moved = torch.stack([place[:, 0], place[:, 1] + offset[0], place[:, 2] + offset[1]], dim=1)
            places = at_places(cells[0], strides[0], moved), at_places(cells[1], strides[1], place)
        return Embedded(*whole, *places)

    def loss(self, found: Embedded, measured: Tensor, place: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Scalar, the weighted sum of the losses; and each of them, with the temperatures where there are any.

        Args:
            found: of a batch.
            measured: bool [B], whether anything of a picture's depth is; of the others nothing is to be learnt.
            place: int64 [N, 3], as ``forward`` was given it.
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
