"""Segmenter: backbone, neck and head put together, with the normalisation and the classes that belong to them."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segkit import backbones, heads, necks
from segkit.backbones.backbone import Backbone
from segkit.backbones.stem import Stemmed
from segkit.data.reader import Reader
from segkit.errors import UsageError
from segkit.heads.head import Head
from segkit.necks.neck import Neck
from segkit.statistics import PixelStatistics, entropy

Task = Literal["binary", "multilabel", "multiclass"]
Named = str | Mapping[str, Any]  # a part: its name, or {"name": …, option: value}

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Segmenter(nn.Module):
    """Map images to per-pixel logits at the images' own size; build one with :meth:`create`.

    Args:
        backbone: image → pyramid.
        neck: pyramid → fused pyramid.
        head: fused pyramid → ``maps`` logits per pixel.
        classes: names of the classes, in the order of their ids.
        task: ``binary`` (one sigmoid map for the last class), ``multilabel`` (one sigmoid map a class) or
            ``multiclass`` (softmax over the classes).
        background: id of the class that is background, if any.
        reader: how files become this model's input.
        mean, std: per-channel normalisation, kept as buffers.
        auxiliary: how many of the neck's coarser maps get a head of their own while training.
        architecture: what :meth:`create` was called with, so that a saved model can be built again.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        backbone: Backbone,
        neck: Neck,
        head: Head,
        *,
        classes: Sequence[str],
        task: Task,
        background: int | None,
        reader: Reader,
        mean: Sequence[float],
        std: Sequence[float],
        auxiliary: int = 0,
        architecture: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.classes, self.task, self.background, self.reader = tuple(classes), task, background, reader
        self.maps = output_maps(task, len(self.classes))
        self.architecture = dict(architecture) if architecture is not None else None
        self.about: dict[str, Any] = {}
        self.backbone, self.neck, self.head = backbone, neck, head
        self._auxiliary_levels = _coarser_levels(neck, auxiliary)
        self.auxiliary = nn.ModuleList(nn.Conv2d(neck.channels[i], self.maps, 1) for i in self._auxiliary_levels)
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(1, -1, 1, 1))

    @classmethod
    def create(
        cls,
        backbone: Named,
        *,
        classes: int | Sequence[str],
        neck: Named = "unet",
        head: Named = "upsample",
        stem: bool | int = False,
        in_channels: int = 3,
        task: Task | None = None,
        background: int | str | None = None,
        window: tuple[float, float] | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        auxiliary: int = 0,
    ) -> "Segmenter":
        """Build a segmenter from names.

        Args:
            backbone, neck, head: a name (``segkit models`` lists them) or ``{"name": …, option: value}``.
            classes: names of the classes, or their number.
            stem: put learned full- and half-resolution maps in front of the pyramid; a number sets their width.
            in_channels: channels of the input.
            task: by default one or two classes mean ``binary``, more mean ``multiclass``.
            background: name or id of the background class; default: the first of two classes, or the one so named.
            window: intensities that become 0 and 1 on reading; by default the file type's range.
            mean, std: normalisation in 0..1; by default ImageNet's for three channels, 0.5 and 0.25 otherwise.
            auxiliary: auxiliary heads on the neck's coarser maps (deep supervision), training only.

        Raises:
            UsageError: an unknown name, option or combination.
        """
        names = _class_names(classes)
        if window is not None and not window[0] < window[1]:
            raise UsageError(f"window {list(window)}: expected two rising intensities")
        task = task or ("binary" if len(names) <= 2 else "multiclass")
        if task == "binary" and len(names) > 2:
            raise UsageError(f"task 'binary' with {len(names)} classes; name two at most, or choose another task")
        mean = mean if mean is not None else (IMAGENET_MEAN if in_channels == 3 else (0.5,) * in_channels)
        std = std if std is not None else (IMAGENET_STD if in_channels == 3 else (0.25,) * in_channels)
        if not len(mean) == len(std) == in_channels:
            raise UsageError(
                f"mean has {len(mean)} and std {len(std)} values for {in_channels} channels; give one each"
            )
        try:
            body = backbones.create(**_part(backbone), in_channels=in_channels)
            if stem:
                body = Stemmed(body, in_channels=in_channels, **({} if stem is True else {"width": int(stem)}))
            middle = necks.create(**_part(neck), channels=body.channels, strides=body.strides)
            top = heads.create(
                **_part(head),
                channels=middle.channels[0],
                stride=middle.strides[0],
                classes=output_maps(task, len(names)),
            )
        except (ValueError, TypeError) as error:
            raise UsageError(str(error)) from error
        return cls(
            body,
            middle,
            top,
            classes=names,
            task=task,
            background=_background_id(background, names, task),
            reader=Reader(channels=in_channels, window=window),
            mean=mean,
            std=std,
            auxiliary=auxiliary,
            architecture={
                # Weights to start from are not part of the shape: a saved model brings its own.
                "backbone": {key: value for key, value in _part(backbone).items() if key != "weights"},
                "neck": _part(neck),
                "head": _part(head),
                "stem": stem,
                "in_channels": in_channels,
            },
        )

    def forward(self, image: Tensor, depth: Tensor | None = None) -> Tensor:
        """Logits float [B, maps, H, W] of images float32 [B, C, H, W] in 0..1, any H and W."""
        logits: Tensor = self.head(self._fused(image, depth), _size(image))
        return logits

    def forward_levels(self, image: Tensor, depth: Tensor | None = None) -> list[Tensor]:
        """Logits as :meth:`forward`, then those of the auxiliary heads, all enlarged to the image's size."""
        levels, (height, width) = self._fused(image, depth), _size(image)
        found = [self.head(levels, (height, width))]
        for head, i in zip(self.auxiliary, self._auxiliary_levels, strict=True):
            # By exactly the stride, then cropped: the grids stay aligned at the top left at any size.
            logits = F.interpolate(head(levels[i]), scale_factor=self.neck.strides[i], mode="bilinear")
            found.append(logits[..., :height, :width])
        return found

    def probabilities(self, image: Tensor, depth: Tensor | None = None) -> Tensor:
        """Probabilities float32 [B, maps, H, W] in 0..1: sigmoid, or softmax over the classes for ``multiclass``."""
        logits: Tensor = self(image, depth).float()
        return logits.softmax(1) if self.task == "multiclass" else logits.sigmoid()

    def statistics(self, image: Tensor, depth: Tensor | None = None) -> PixelStatistics:
        """Probabilities and their entropy; one model has no disagreement."""
        probabilities = self.probabilities(image, depth)
        return PixelStatistics(probabilities, entropy(probabilities, self.task), mutual_information=None, std=None)

    def _fused(self, image: Tensor, depth: Tensor | None) -> list[Tensor]:
        levels: list[Tensor] = self.neck(self.backbone((image - self.mean) / self.std, depth))
        return levels


def output_maps(task: Task, classes: int) -> int:
    """How many maps a model puts out: one for ``binary``, else one a class."""
    return 1 if task == "binary" else classes


def _size(image: Tensor) -> tuple[int, int]:
    return image.shape[-2], image.shape[-1]


def _part(named: Named) -> dict[str, Any]:
    return {"name": named} if isinstance(named, str) else dict(named)


def _class_names(classes: int | Sequence[str]) -> tuple[str, ...]:
    if isinstance(classes, int):
        classes = [f"class_{i}" for i in range(classes)]
    names = tuple(classes)
    if not names or len(set(names)) < len(names):
        raise UsageError(f"classes {list(names)}: expected at least one name, each different")
    return names


def _background_id(background: int | str | None, names: tuple[str, ...], task: Task) -> int | None:
    if isinstance(background, str):
        if background not in names:
            raise UsageError(f"background {background!r} is not one of the classes {list(names)}")
        return names.index(background)
    if background is None:
        if task == "binary":
            return 0 if len(names) == 2 else None
        return names.index("background") if task == "multiclass" and "background" in names else None
    if not 0 <= background < len(names):
        raise UsageError(f"background {background}: expected a class id from 0 to {len(names) - 1}")
    return background


def _coarser_levels(neck: Neck, count: int) -> list[int]:
    """Indices of the ``count`` finest levels that are coarser than the main one."""
    coarser = [i for i, stride in enumerate(neck.strides) if stride > neck.strides[0]]
    if count > len(coarser):
        raise UsageError(f"auxiliary={count}, but this neck has {len(coarser)} maps coarser than its main one")
    return coarser[:count]
