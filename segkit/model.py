"""Segmenter: backbone, neck and head put together, with the normalisation and the classes that belong to them."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Literal, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segkit import backbones, heads, necks
from segkit.backbones.backbone import Backbone
from segkit.backbones.bridged import Bridged, nearest_level
from segkit.backbones.stacked import Stacked
from segkit.backbones.stem import Stemmed
from segkit.backbones.weights import fold_stacked
from segkit.data.depth import zoomed_depth
from segkit.data.depth_encoding import DepthEncoding
from segkit.data.depth_format import DepthFormat
from segkit.data.picture import checked_mpp
from segkit.data.reader import Reader, Window
from segkit.data.resize import shrunk_or_enlarged
from segkit.data.slices import Slices
from segkit.data.window_names import NamedWindow
from segkit.errors import UsageError
from segkit.heads.head import Head
from segkit.heads.resample import enlarge
from segkit.model_arguments import (
    Named,
    background_id,
    channel_count,
    class_names,
    given_window,
    grids,
    naming,
    normalisation,
    part,
    task_of,
    without_weights,
)
from segkit.necks.neck import Neck
from segkit.second_modality import bridged, encoding_of, shape_of
from segkit.sections import STACK
from segkit.statistics import PixelStatistics, entropy, maximum_entropy, probabilities_of
from segkit.task import Task, output_maps
from segkit.tensor_checks import check_depth, check_images

METRES = DepthFormat(unit="m")
AUXILIARY_STRIDE = 8  # of the depth backbone's level, or the nearest to that: half-way between detail and meaning


class Segmenter(nn.Module):
    """Map images to per-pixel logits at the images' own size; build one with :meth:`create`.

    A model that takes depth, or another second modality, is given it as ``depth`` [B, C + 1, H, W], values and validity
    (1 measured, 0 not), or behind the image as further channels of one tensor, which is how tiles travel. Without any,
    and where nothing of a picture is measured, it goes by the image alone.

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
        input_size: (height, width) that every image is brought to first; it is then always taken whole.
        output_size: (height, width) of a coarse map that is all the model learns; its logits are the means over the
            cells of the grid, and are enlarged to the image's size. Needs ``input_size``.
        spread: a second head, one map, for how far the members of the ensemble disagreed that this model was taught by;
            :meth:`statistics` alone reads it.
        encoding: what the backbone is given of depth; None for a backbone of the image alone.
        depth_auxiliary: whether a depth backbone gets a head of its own while training: as long as bridges say nothing,
            which is how they begin, the main one teaches it nothing.
        architecture: what :meth:`create` was called with, so that a saved model can be built again.
    """

    mean: Tensor
    std: Tensor
    frozen = False  # whether all but what is of depth is

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
        input_size: tuple[int, int] | None = None,
        output_size: tuple[int, int] | None = None,
        spread: Head | None = None,
        encoding: DepthEncoding | None = None,
        depth_auxiliary: bool = False,
        architecture: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.classes, self.task, self.background, self.reader = tuple(classes), task, background, reader
        self.maps = output_maps(task, len(self.classes))
        self.architecture = dict(architecture) if architecture is not None else None
        self.about: dict[str, Any] = {}
        self.backbone, self.neck, self.head, self.spread = backbone, neck, head, spread
        self.input_size, self.output_size = input_size, output_size
        self._auxiliary_levels = _coarser_levels(neck, auxiliary)
        self.auxiliary = nn.ModuleList(nn.Conv2d(neck.channels[i], self.maps, 1) for i in self._auxiliary_levels)
        self.encoding = encoding
        self.depth_auxiliary = depth_auxiliary and isinstance(backbone, Bridged)
        if depth_auxiliary and isinstance(backbone, Bridged):
            own = nearest_level(AUXILIARY_STRIDE, backbone.depth.strides)
            self.auxiliary.append(nn.Conv2d(backbone.depth.channels[own], self.maps, 1))
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
        depth: Named | None = None,
        bridge: Named = "se",
        encoding: Named | None = None,
        depth_format: DepthFormat | None = None,
        depth_channels: int = 1,
        depth_auxiliary: bool = False,
        task: Task | None = None,
        background: int | str | None = None,
        window: Window | NamedWindow | None = None,
        slices: Slices | None = None,
        mpp: float | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        auxiliary: int = 0,
        input_size: Sequence[int] | None = None,
        output_size: Sequence[int] | None = None,
        spread: bool = False,
    ) -> "Segmenter":
        """Build a segmenter from names.

        Args:
            backbone, neck, head: a name (``segkit models`` lists them) or ``{"name": …, option: value}``.
            classes: names of the classes, or their number.
            stem: put learned full- and half-resolution maps in front of the pyramid; a number sets their width.
            in_channels: channels of the input.
            depth: a backbone for depth or another second modality, its level told to those of the image by bridges;
                ``stack`` makes it further channels of the one backbone instead. ``weights: colour`` among its options
                are those of the other backbone, whose kind it then must be.
            bridge: a bridge's name, or ``{"name": …, "levels": indices, option: value}``.
            encoding: what is made of the values first: ``metres``, ``inverse``, ``normals`` or ``plain``, with the
                options of :class:`segkit.data.depth_encoding.DepthEncoding`; by default metres, or plain where the
                values aren't metric.
            depth_format: what values in files mean where nothing else says it; by default metres.
            depth_channels: of the second modality, validity not counted; 1 where it is metric.
            depth_auxiliary: a head of its own for the depth backbone, training only.
            task: by default one or two classes mean ``binary``, more mean ``multiclass``.
            background: name or id of the background class; default: the first of two classes, or the one so named.
            window: intensities that become 0 and 1 on reading, ``"picture"`` for each picture's own, ``"file"`` for
                the one that a DICOM file names, or a window of CT by its name; by default the file type's range.
            slices: how volumes are looked at; ``in_channels`` counts those of all slices seen at a time.
            mpp: microns per pixel that pictures of known resolution are brought to; by default they stay as they are.
            mean, std: normalisation in 0..1; by default ImageNet's for three channels, 0.5 and 0.25 otherwise.
            auxiliary: auxiliary heads on the neck's coarser maps (deep supervision), training only.
            input_size: (height, width) that every image is brought to, whole, before the backbone.
            output_size: (height, width) of the coarse map to learn; ``input_size`` is then 8 times that by default.
            spread: a second head for the disagreement of an ensemble that teaches it.

        Raises:
            UsageError: an unknown name, option or combination.
        """
        names = class_names(classes)
        window = given_window(window)
        if checked_mpp(mpp) is not None and depth is not None:
            raise UsageError(f"mpp={mpp:g}: is for models of images alone; leave depth out")
        if type(auxiliary) is not int or auxiliary < 0:
            raise UsageError(f"auxiliary={auxiliary!r}: expected the number of auxiliary heads, 0 or more")
        if not isinstance(stem, int) or stem < 0:
            raise UsageError(f"stem={stem!r}: expected true, false, or the stem's width")
        in_channels = channel_count(in_channels)
        task = task_of(task, names)
        mean, std = normalisation(mean, std, in_channels)
        taken, learnt = grids(input_size, output_size)
        if depth is None and (encoding is not None or depth_format is not None):
            raise UsageError("encoding and depth_format are of a second modality; name a backbone for it by depth=")
        told: DepthEncoding | None = None
        if depth is not None:
            depth_format = depth_format or METRES
            told = encoding_of(None if encoding is None else part(encoding), depth_format, depth_channels)
        channels = 0 if told is None else told.out_channels + 1
        stacked = depth is not None and part(depth)["name"] == STACK
        behind = channels if stacked else 0
        left = [key for key in part(depth) if key != "name"] if stacked and depth is not None else []
        if left:
            raise UsageError(f"depth 'stack' has no {left[0]}: it has no backbone of its own; leave that out")
        with naming("backbone"):
            fold = partial(fold_stacked, depth=behind) if behind else None
            body = backbones.create(**part(backbone), in_channels=in_channels + behind, fold=fold)
            if stem:
                width = {} if stem is True else {"width": int(stem)}
                body = Stemmed(body, in_channels=in_channels + behind, **width)
        if stacked:
            body = Stacked(body, depth_channels=channels)
        elif depth is not None:
            body = bridged(body, part(depth), part(bridge), channels=channels)
        with naming("neck"):
            middle = necks.create(**part(neck), channels=body.channels, strides=body.strides)
        below: dict[str, Any] = {"channels": middle.channels[0], "stride": middle.strides[0]}
        with naming("head"):
            top = heads.create(**part(head), **below, classes=output_maps(task, len(names)))
            second = heads.create(**part(head), **below, classes=1) if spread else None
        return cls(
            body,
            middle,
            top,
            classes=names,
            task=task,
            background=background_id(background, names, task),
            reader=Reader(
                channels=in_channels,
                window=window,
                slices=slices,
                mpp=mpp,
                depth=depth_format,
                depth_channels=0 if told is None else told.in_channels,
            ),
            mean=mean,
            std=std,
            auxiliary=auxiliary,
            input_size=taken,
            output_size=learnt,
            spread=second,
            encoding=told,
            depth_auxiliary=depth_auxiliary,
            architecture={
                # Weights to start from are not part of the shape: a saved model brings its own.
                "backbone": without_weights(part(backbone)),
                "neck": part(neck),
                "head": part(head),
                "stem": stem,
                "in_channels": in_channels,
                "input_size": taken,
                "output_size": learnt,
                "spread": bool(spread),
                **shape_of(depth, bridge, told),
            },
        )

    @property
    def takes_whole_images(self) -> bool:
        """Whether a piece of an image would be taken for an image of its own: such a model can't work in tiles."""
        return self.input_size is not None

    @property
    def disagrees(self) -> bool:
        """Whether :meth:`statistics` has mutual information."""
        return self.spread is not None

    def freeze(self, what: int | Literal["all", "colour"]) -> None:
        """Let a part of the model stand still, without gradients and in evaluation mode, and all else learn.

        Args:
            what: so many stages of the backbone, or all of them, as ``Backbone.freeze``; ``colour``: all but the depth
                backbone, the bridges, and what is of use in training alone.

        Raises ValueError, and changes nothing, for more stages than there are, and for ``colour`` without depth.
        """
        if what == "colour" and not isinstance(self.backbone, Bridged):
            raise ValueError("freeze='colour': the model has no depth backbone that could learn")
        stages = "all" if what == "colour" else what
        self.backbone.freeze(stages)  # refuses what can't be, before all else learns
        self.requires_grad_(True)
        self.backbone.freeze(stages)
        self.frozen = what == "colour"
        if self.frozen:
            for still in self._still():
                still.requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """Train or evaluate from here on; what is frozen stays in evaluation mode."""
        super().train(mode)
        if self.frozen:
            for still in self._still():
                still.eval()
        return self

    def _still(self) -> list[nn.Module]:
        assert isinstance(self.backbone, Bridged)
        return [self.backbone.colour, self.neck, self.head]

    def forward(self, image: Tensor, depth: Tensor | None = None) -> Tensor:
        """Logits float [B, maps, H, W] of images float32 [B, C, H, W] in 0..1, any H and W."""
        return self._at_size(self.grid_logits(image, depth), image)

    def grid_logits(self, image: Tensor, depth: Tensor | None = None) -> Tensor:
        """Logits on the grid that the model learns: [B, maps, *output_size], or else of ``input_size`` or the image."""
        image, depth = self._taken(image, depth)
        return self._on_grid(self.head(self._fused(image, depth), _size(image)))

    def forward_levels(self, image: Tensor, depth: Tensor | None = None) -> list[Tensor]:
        """Logits as :meth:`grid_logits`, then those of the auxiliary heads, all on the same grid.

        The last ones are the depth backbone's own, if it has a head; in pictures without depth they are 0.
        """
        return self._levels(*self._taken(image, depth))[0]

    def forward_with_spread(self, image: Tensor, depth: Tensor | None = None) -> tuple[list[Tensor], Tensor]:
        """What :meth:`forward_levels` gives, and the spread's logits [B, 1, ...], which move no weights but its own."""
        image, depth = self._taken(image, depth)
        found, levels = self._levels(image, depth)
        return found, self._spread_of([level.detach() for level in levels], _size(image))

    def _levels(self, image: Tensor, depth: Tensor | None) -> tuple[list[Tensor], list[Tensor]]:
        """All heads' logits, and the neck's maps."""
        backbone, size = self.backbone, _size(image)
        further: list[Tensor] = []
        if self.depth_auxiliary and isinstance(backbone, Bridged):
            pyramid, own, present = backbone.with_depth_levels(*self._normalised(image, depth))
            i = nearest_level(AUXILIARY_STRIDE, backbone.depth.strides)
            logits = torch.where(present.view(-1, 1, 1, 1), self.auxiliary[-1](own[i]), 0.0)
            further.append(enlarge(logits, backbone.depth.strides[i], 1, size))
        else:
            pyramid = backbone(*self._normalised(image, depth))
        levels: list[Tensor] = self.neck(pyramid)
        found = [self.head(levels, size)]
        for i, head in zip(self._auxiliary_levels, self.auxiliary, strict=False):  # the last one may be depth's
            found.append(enlarge(head(levels[i]), self.neck.strides[i], 1, size))
        return [self._on_grid(logits) for logits in (*found, *further)], levels

    def probabilities(self, image: Tensor, depth: Tensor | None = None) -> Tensor:
        """Probabilities float32 [B, maps, H, W] in 0..1: sigmoid, or softmax over the classes for ``multiclass``."""
        return probabilities_of(self(image, depth), self.task)

    def statistics(self, image: Tensor, depth: Tensor | None = None) -> PixelStatistics:
        """Probabilities and their entropy; mutual information only where the model was taught an ensemble's."""
        if self.spread is None:
            probabilities = self.probabilities(image, depth)
            return PixelStatistics(probabilities, entropy(probabilities, self.task))
        sized, depth = self._taken(image, depth)
        levels = self._fused(sized, depth)
        logits = self._on_grid(self.head(levels, _size(sized)))
        probabilities = probabilities_of(self._at_size(logits, image), self.task)
        share = self._at_size(self._spread_of(levels, _size(sized)), image).float().sigmoid()[:, 0]
        total = entropy(probabilities, self.task)
        between = share * maximum_entropy(self.task, self.maps)
        return PixelStatistics(probabilities, total, mutual_information=between.minimum(total))

    def _spread_of(self, levels: list[Tensor], size: tuple[int, int]) -> Tensor:
        assert self.spread is not None
        return self._on_grid(self.spread(levels, size))

    def _at_size(self, maps: Tensor, image: Tensor) -> Tensor:
        """From the grid to the image's own."""
        return maps if self.input_size is None else F.interpolate(maps, _size(image), mode="bilinear")

    def _taken(self, image: Tensor, depth: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Image and depth apart from each other, checked, at the size that the backbone takes them."""
        image, depth = self.reader.apart(image, depth)
        check_images(image, self.mean)
        if depth is not None:
            check_depth(depth, image, self.reader.depth_channels)
        if self.input_size is None:
            return image, depth
        if depth is not None:
            depth = zoomed_depth(depth, self.input_size, self.reader.metric)
        return shrunk_or_enlarged(image, self.input_size), depth

    def _on_grid(self, logits: Tensor) -> Tensor:
        return logits if self.output_size is None else F.adaptive_avg_pool2d(logits, self.output_size)

    def _fused(self, image: Tensor, depth: Tensor | None) -> list[Tensor]:
        levels: list[Tensor] = self.neck(self.backbone(*self._normalised(image, depth)))
        return levels

    def _normalised(self, image: Tensor, depth: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """What the backbone is given."""
        return (image - self.mean) / self.std, None if depth is None or self.encoding is None else self.encoding(depth)


def _size(image: Tensor) -> tuple[int, int]:
    return image.shape[-2], image.shape[-1]


def _coarser_levels(neck: Neck, count: int) -> list[int]:
    """Indices of the ``count`` finest levels that are coarser than the main one."""
    coarser = [i for i, stride in enumerate(neck.strides) if stride > neck.strides[0]]
    if count > len(coarser):
        raise UsageError(f"auxiliary={count}, but this neck has {len(coarser)} maps coarser than its main one")
    return coarser[:count]
