"""Segmenter: backbone, neck and head put together, with the normalisation and the classes that belong to them."""

from collections.abc import Mapping, Sequence
from functools import partial
from math import inf, isfinite
from numbers import Integral
from typing import Any, Literal, Self, get_args

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
from segkit.errors import UsageError
from segkit.heads.head import Head
from segkit.necks.neck import Neck
from segkit.parts import plain
from segkit.second_modality import STACK, bridged, encoding_of
from segkit.statistics import PixelStatistics, entropy, maximum_entropy, probabilities_of
from segkit.task import Task, output_maps

Named = str | Mapping[str, Any]  # a part: its name, or {"name": …, option: value}

METRES = DepthFormat(unit="m")
AUXILIARY_STRIDE = 8  # of the depth backbone: half-way between detail and meaning
CELL = 8  # pixels of the image along a side of a coarse map's cell, where only the map's size is given
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


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
        self.depth_auxiliary = depth_auxiliary
        if depth_auxiliary and isinstance(backbone, Bridged):
            self.auxiliary.append(nn.Conv2d(backbone.depth.channels[_own_level(backbone)], self.maps, 1))
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
        window: Window | None = None,
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
                the one that a DICOM file names; by default the file type's range.
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
        numbers = window is not None and window not in ("picture", "file")
        if numbers and (isinstance(window, str) or window is None or not window[0] < window[1]):
            raise UsageError(f"window {window!r}: expected two rising intensities, 'picture', 'file' or None")
        if checked_mpp(mpp) is not None and depth is not None:
            raise UsageError(f"mpp={mpp:g}: is for models of images alone; leave depth out")
        if task is not None and task not in get_args(Task):
            raise UsageError(f"task {task!r}: expected one of {', '.join(get_args(Task))}")
        if type(auxiliary) is not int or auxiliary < 0:
            raise UsageError(f"auxiliary={auxiliary!r}: expected the number of auxiliary heads, 0 or more")
        if not isinstance(stem, int) or stem < 0:
            raise UsageError(f"stem={stem!r}: expected true, false, or the stem's width")
        in_channels = channel_count(in_channels)
        task = task or ("binary" if len(names) <= 2 else "multiclass")
        if task == "binary" and len(names) > 2:
            raise UsageError(f"task 'binary' with {len(names)} classes; name two at most, or choose another task")
        mean, std = normalisation(mean, std, in_channels)
        taken, learnt = grids(input_size, output_size)
        if depth is None and (encoding is not None or depth_format is not None):
            raise UsageError("encoding and depth_format are of a second modality; name a backbone for it by depth=")
        try:
            told: DepthEncoding | None = None
            if depth is not None:
                depth_format = depth_format or METRES
                told = encoding_of(None if encoding is None else part(encoding), depth_format, depth_channels)
            stacked = told is not None and part(depth or STACK)["name"] == STACK
            behind = told.out_channels + 1 if told is not None and stacked else 0
            fold = partial(fold_stacked, depth=behind) if behind else None
            body = backbones.create(**part(backbone), in_channels=in_channels + behind, fold=fold)
            if stem:
                width = {} if stem is True else {"width": int(stem)}
                body = Stemmed(body, in_channels=in_channels + behind, **width)
            if told is not None and depth is not None:
                channels = told.out_channels + 1
                if stacked:
                    body = Stacked(body, depth_channels=channels)
                else:
                    body = bridged(body, part(depth), part(bridge), channels=channels)
            middle = necks.create(**part(neck), channels=body.channels, strides=body.strides)
            below: dict[str, Any] = {"channels": middle.channels[0], "stride": middle.strides[0]}
            top = heads.create(**part(head), **below, classes=output_maps(task, len(names)))
            second = heads.create(**part(head), **below, classes=1) if spread else None
        except (ValueError, TypeError) as error:
            raise UsageError(str(error)) from error
        return cls(
            body,
            middle,
            top,
            classes=names,
            task=task,
            background=_background_id(background, names, task),
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
                **_second_modality(depth, bridge, told),
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

        Raises ValueError for more stages than there are, and for ``colour`` where no depth backbone learns then.
        """
        if what == "colour" and not isinstance(self.backbone, Bridged):
            raise ValueError("freeze='colour': the model has no depth backbone that could learn")
        self.requires_grad_(True)
        self.frozen = what == "colour"
        self.backbone.freeze("all" if what == "colour" else what)
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
            i = _own_level(backbone)
            logits = torch.where(present.view(-1, 1, 1, 1), self.auxiliary[-1](own[i]), 0.0)
            further.append(_enlarged(logits, backbone.depth.strides[i], size))
        else:
            pyramid = backbone(*self._normalised(image, depth))
        levels: list[Tensor] = self.neck(pyramid)
        found = [self.head(levels, size)]
        for i, head in zip(self._auxiliary_levels, self.auxiliary, strict=False):  # the last one may be depth's
            found.append(_enlarged(head(levels[i]), self.neck.strides[i], size))
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
        image = (image - self.mean) / self.std
        return image, None if depth is None or self.encoding is None else self.encoding(depth)


def check_images(image: Tensor, mean: Tensor) -> None:
    """Raise ValueError unless these are images [B, C, H, W] of as many channels as there are means, and fractions."""
    channels = mean.shape[1]
    if image.ndim != 4 or image.shape[1] != channels:
        raise ValueError(f"got images {list(image.shape)}; this model takes [B, {channels}, H, W]")
    if not image.is_floating_point():
        raise ValueError(f"got images of {image.dtype}; this model takes float in 0..1: divide uint8 by 255")


def check_depth(depth: Tensor, image: Tensor, channels: int) -> None:
    """Raise ValueError unless this is depth of that many channels, and validity, of these images."""
    if not channels:
        raise ValueError(f"got depth {list(depth.shape)}; this model takes images alone")
    expected = [image.shape[0], channels + 1, *_size(image)]
    if list(depth.shape) != expected:
        raise ValueError(f"got depth {list(depth.shape)} of images {list(image.shape)}; expected {expected}")


def channel_count(channels: object) -> int:
    """The number of channels as a plain int; UsageError where it is none."""
    if isinstance(channels, bool) or not isinstance(channels, Integral) or int(channels) < 1:
        raise UsageError(f"in_channels={channels!r}: expected a whole number, 1 or more")
    return int(channels)


def grids(
    input_size: Sequence[int] | None, output_size: Sequence[int] | None
) -> tuple[tuple[int, int] | None, tuple[int, int] | None]:
    """(height, width) that images are brought to, and of the coarse map; a coarse map alone means 8 times its size.

    Raises:
        UsageError: not two sides of 1 or more, or a coarse map larger than the image.
    """
    sizes = []
    for name, size in (("input_size", input_size), ("output_size", output_size)):
        sides: list[object] = list(size) if isinstance(size, Sequence) else [size]
        whole = all(isinstance(side, Integral) and int(side) >= 1 for side in sides)
        if size is not None and (len(sides) != 2 or not whole):
            raise UsageError(f"{name} is {size!r}; expected [height, width], both whole and 1 or more")
        sizes.append(None if size is None else (int(size[0]), int(size[1])))
    taken, learnt = sizes
    if learnt is not None:
        taken = taken or (CELL * learnt[0], CELL * learnt[1])
        if learnt[0] > taken[0] or learnt[1] > taken[1]:
            raise UsageError(f"output_size {list(learnt)} is larger than input_size {list(taken)}")
    return taken, learnt


def normalisation(
    mean: Sequence[float] | None, std: Sequence[float] | None, channels: int
) -> tuple[Sequence[float], Sequence[float]]:
    """Mean and standard deviation of each channel in 0..1: those given, else ImageNet's for three, else 0.5 and 0.25.

    Raises:
        UsageError: not one value a channel.
    """
    mean = mean if mean is not None else (IMAGENET_MEAN if channels == 3 else (0.5,) * channels)
    std = std if std is not None else (IMAGENET_STD if channels == 3 else (0.25,) * channels)
    for name, values in (("mean", mean), ("std", std)):
        if not isinstance(values, Sequence):
            raise UsageError(f"{name}={values!r}: expected a list of {channels}, one a channel")
    if not len(mean) == len(std) == channels:
        raise UsageError(f"mean has {len(mean)} and std {len(std)} values for {channels} channels; give one each")
    if not all(isfinite(value) for value in mean) or not all(0 < value < inf for value in std):
        raise UsageError(f"mean={list(mean)}, std={list(std)}: expected finite numbers, those of std above 0")
    return mean, std


def part(named: Named) -> dict[str, Any]:
    """A part's name and options, as keyword arguments for ``create``."""
    values = {"name": named} if isinstance(named, str) else dict(named) if isinstance(named, Mapping) else {}
    if not isinstance(values.get("name"), str):
        raise UsageError(f"{named!r}: expected a name, or {{'name': …, option: value}}")
    taken = sorted({"in_channels", "channels", "strides", "stride", "classes"} & values.keys())
    if taken:
        raise UsageError(f"{values['name']}: {taken[0]} is no option; it follows from the rest of the model")
    return {key: value if key == "weights" else plain(value) for key, value in values.items()}


def without_weights(named: Mapping[str, Any]) -> dict[str, Any]:
    """A backbone's name and options without weights to start from, its parts' too."""
    shape = {key: value for key, value in named.items() if key != "weights"}
    if "of" in shape:
        shape["of"] = [without_weights(part(each)) for each in shape["of"]]
    return shape


def class_names(classes: int | Sequence[str]) -> tuple[str, ...]:
    """The classes' names, made up where their number is given.

    Raises:
        UsageError: no name, or one twice.
    """
    if not isinstance(classes, int | Sequence) or isinstance(classes, bool):
        raise UsageError(f"classes={classes!r}: expected names, or their number")
    if isinstance(classes, int):
        classes = [f"class_{i}" for i in range(classes)]
    names = tuple(classes)
    if not names or len(set(names)) < len(names):
        raise UsageError(f"classes {list(names)}: expected at least one name, each different")
    return names


def _second_modality(depth: Named | None, bridge: Named, encoding: DepthEncoding | None) -> dict[str, Any]:
    """What of the architecture is there for a second modality alone."""
    if depth is None or encoding is None:
        return {}
    return {"depth": without_weights(part(depth)), "bridge": part(bridge), "encoding": encoding.options()}


def _own_level(backbone: Bridged) -> int:
    """The depth backbone's level that its own head reads while training: of stride 8, or the nearest to that."""
    return nearest_level(AUXILIARY_STRIDE, backbone.depth.strides)


def _enlarged(logits: Tensor, stride: int, size: tuple[int, int]) -> Tensor:
    """By exactly the stride, then cropped: the grids stay aligned at the top left at any size."""
    height, width = size
    return F.interpolate(logits, scale_factor=stride, mode="bilinear")[..., :height, :width]


def _size(image: Tensor) -> tuple[int, int]:
    return image.shape[-2], image.shape[-1]


def _background_id(background: int | str | None, names: tuple[str, ...], task: Task) -> int | None:
    if isinstance(background, str):
        if background not in names:
            raise UsageError(f"background {background!r} is not one of the classes {list(names)}")
        return names.index(background)
    if background is None:
        if task == "binary":
            return 0 if len(names) == 2 else None
        return names.index("background") if task == "multiclass" and "background" in names else None
    if type(background) is not int or not 0 <= background < len(names):
        raise UsageError(f"background {background}: expected a class id from 0 to {len(names) - 1}")
    return background


def _coarser_levels(neck: Neck, count: int) -> list[int]:
    """Indices of the ``count`` finest levels that are coarser than the main one."""
    coarser = [i for i, stride in enumerate(neck.strides) if stride > neck.strides[0]]
    if count > len(coarser):
        raise UsageError(f"auxiliary={count}, but this neck has {len(coarser)} maps coarser than its main one")
    return coarser[:count]
