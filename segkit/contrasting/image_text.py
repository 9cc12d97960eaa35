"""ImageText: an image backbone and a text encoder that project what they see and read to one space."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segkit import backbones
from segkit.backbones.backbone import Backbone
from segkit.contrasting.losses import InfoNCE
from segkit.contrasting.projection import ImageProjection
from segkit.contrasting.text_encoder import TextEncoder
from segkit.contrasting.text_towers import create_text, rebuild_text
from segkit.contrasting.tokens import Tokens
from segkit.errors import UsageError
from segkit.labelled.view import View
from segkit.model_arguments import Named, channel_count, normalisation, part, without_weights
from segkit.tensor_checks import check_images

TEXTS = 256  # encoded at a time


def is_texts(given: object) -> bool:
    """Whether these are several texts, one or more."""
    if isinstance(given, str) or not isinstance(given, Sequence):
        return False
    return len(given) > 0 and all(isinstance(text, str) for text in given)


class ImageTower(nn.Module):
    """Map images to vectors of the space: normalisation, backbone, projection.

    Args:
        backbone: image → pyramid; its coarsest level is projected.
        dim: of the space.
        mean, std: per-channel normalisation of images in 0..1, kept as buffers.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, backbone: Backbone, *, dim: int, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.backbone = backbone
        self.projection = ImageProjection(backbone.channels, dim)
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(1, -1, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        """Vectors [B, dim], of any length, of images float32 [B, C, H, W] in 0..1."""
        check_images(image, self.mean)
        found: Tensor = self.projection(self.backbone((image - self.mean) / self.std))
        return found


class ImageText(nn.Module):
    """Map images and texts to unit vectors of one space [N, D]; build one with :meth:`create`.

    The cosine of two of them says how well a text fits an image, as in CLIP (Radford et al., ICML 2021).

    Args:
        backbone: image → pyramid; its coarsest level is projected.
        text: texts → one vector each.
        dim: D.
        temperature: what the learned one begins with.
        mean, std: per-channel normalisation of images in 0..1, kept as buffers.
        view: what of an image file it is given; None: all of it, at its own size.
        architecture: what it is built from again by :meth:`rebuild`.

    Attributes:
        channels: of the images that it takes.
        image: the tower that sees, with the backbone.
        contrast: the loss, whose temperature is learned with the rest.
        about: what it was trained on, its figures, and what else is to be saved with it.
    """

    def __init__(
        self,
        backbone: Backbone,
        text: TextEncoder,
        *,
        dim: int = 256,
        temperature: float = 0.07,
        mean: Sequence[float],
        std: Sequence[float],
        view: View | None = None,
        architecture: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.text, self.view, self.channels = text, view, len(mean)
        self.architecture = dict(architecture) if architecture is not None else None
        self.about: dict[str, Any] = {}
        self.image = ImageTower(backbone, dim=dim, mean=mean, std=std)
        self.text_projection = nn.Linear(text.width, dim, bias=False)
        self.contrast = InfoNCE(temperature=temperature)

    @classmethod
    def create(
        cls,
        backbone: Named,
        *,
        captions: Sequence[str] = (),
        text: Named = "transformer",
        dim: int = 256,
        temperature: float = 0.07,
        length: int = 64,
        words: int = 8192,
        in_channels: int = 3,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        view: View | None = None,
    ) -> "ImageText":
        """Build one to be trained, from names.

        Args:
            backbone: a name (``segkit models`` lists them) or ``{"name": …, option: value}``.
            captions: that it is to be trained on, for the vocabulary; a text encoder that brings its own needs none.
            text: ``transformer`` with ``width``, ``depth`` and ``heads``, or ``{"name": "hugging_face", "folder": …}``.
            dim: of the space.
            temperature: that the learned one begins with, 0.01..1.
            length: tokens of a text at most.
            words: of the vocabulary at most.
            in_channels: channels of the images.
            mean, std: normalisation in 0..1; by default ImageNet's for three channels, 0.5 and 0.25 otherwise.
            view: what of an image file it is given; None: all of it, at its own size.

        Raises:
            UsageError: an unknown name, option or combination; or transformers is asked for and isn't there.
            ModelError: a folder that holds no text encoder.
        """
        if isinstance(captions, str):
            raise UsageError("captions: expected a list of texts, not one text")
        encoder = create_text(**part(text), captions=captions, length=length, words=words)
        in_channels = channel_count(in_channels)
        mean, std = normalisation(mean, std, in_channels)
        return cls._of(part(backbone), encoder, in_channels, mean, std, dim=dim, temperature=temperature, view=view)

    @classmethod
    def rebuild(cls, architecture: Mapping[str, Any], *, view: View | None) -> "ImageText":
        """One of that architecture, with first weights.

        Raises:
            UsageError, ModelError: what it names isn't there, or doesn't go together.
        """
        encoder, channels = rebuild_text(architecture["text"]), channel_count(architecture["in_channels"])
        mean, std = normalisation(None, None, channels)  # they are tensors of the model
        return cls._of(part(architecture["backbone"]), encoder, channels, mean, std, dim=architecture["dim"], view=view)

    @classmethod
    def _of(
        cls,
        backbone: Mapping[str, Any],
        text: TextEncoder,
        in_channels: int,
        mean: Sequence[float],
        std: Sequence[float],
        *,
        dim: int,
        temperature: float = 0.07,
        view: View | None,
    ) -> "ImageText":
        architecture = {
            "backbone": without_weights(backbone),
            "text": text.description(),
            "dim": dim,
            "in_channels": in_channels,
        }
        try:
            body = backbones.create(**backbone, in_channels=in_channels)
            return cls(
                body,
                text,
                dim=dim,
                temperature=temperature,
                mean=mean,
                std=std,
                view=view,
                architecture=architecture,
            )
        except (ValueError, TypeError) as error:
            raise UsageError(str(error)) from error

    @property
    def temperature(self) -> float:
        """What cosines are divided by before a softmax, as it is now."""
        return self.contrast.temperature

    def forward(self, image: Tensor, tokens: Tokens) -> tuple[Tensor, Tensor]:
        """Vectors of B images and of B texts, float [B, D] each, of any length.

        Args:
            image: float32 [B, C, H, W] in 0..1.
            tokens: as ``text.tokenize`` gives them, on the images' device.
        """
        return self.image(image), self._read(tokens)

    def encode_images(self, image: Tensor) -> Tensor:
        """Unit vectors float32 [B, D] of images float32 [B, C, H, W] in 0..1, any H and W."""
        return F.normalize(self.image(image).float(), dim=1)

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors float32 [M, D] of texts.

        Raises:
            UsageError: a single text instead of a list, no text at all, or something else among them.
        """
        if not is_texts(texts):
            raise UsageError(f"texts={texts!r}: expected a list of one text or more")
        parts = (texts[at : at + TEXTS] for at in range(0, len(texts), TEXTS))
        home = self.text_projection.weight.device  # a classifier of its images' half may have moved that alone
        found = [self._read(self.text.tokenize(each).to(home)).float() for each in parts]
        return F.normalize(torch.cat(found), dim=1).to(self.image.mean.device)

    def similarity(self, image: Tensor, texts: Sequence[str]) -> Tensor:
        """Cosines float32 [B, M], -1..1, of each image with each text."""
        return self.encode_images(image) @ self.encode_texts(texts).T

    def _read(self, tokens: Tokens) -> Tensor:
        found: Tensor = self.text_projection(self.text(tokens))
        return found
