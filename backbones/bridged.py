"""A backbone for colour, one for a second modality, and bridges that tell the first what the second finds.

As in FuseNet (Hazirbas et al., ACCV 2016) and ESANet (Seichter et al., ICRA 2021), but on finished pyramids: each of
the two networks is any backbone, with the weights and the layout that it has alone.
"""

from collections.abc import Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segkit.backbones.backbone import Backbone, ceil, select_levels

SPARED = "_spared_a_single_value"


class Bridged(Backbone):
    """The colour backbone's pyramid, some of its levels told by a bridge what the depth backbone finds there.

    ``depth`` stands for any second modality, encoded as E channels of values and one of validity, 1 where the pixel was
    measured and 0 where not. A picture without any measured pixel is absent: its levels are the colour backbone's to
    the bit, whatever the weights, and so are those of a batch with ``depth=None``. Absent pictures never reach the
    depth backbone and the bridges, nor their BatchNorm statistics. In a graph (``torch.compile``, ``torch.export``),
    where nothing may depend on values, they do reach them and their results are dropped: the same pyramid in evaluation
    mode, but compiled training counts them in these statistics.

    A level of colour is bridged from the depth level of the same stride, or else of the nearest one: enlarged by the
    ratio and cropped, or shrunk to means, both on the grid that begins at the top left.

    Where a single present picture leaves a BatchNorm of the depth backbone or a bridge one value a channel, which has
    no variance, that norm uses its running statistics, as in evaluation.

    Args:
        colour: sees the image.
        depth: sees the encoded second modality, as an image of E + 1 channels.
        bridges: one for each level of colour, called with its features, the depth features on its grid and the
            measured share of each cell (``segkit.necks.bridges``); None where colour passes alone. ``bridged_levels``
            and ``nearest_level`` tell which levels have which partner.

    Raises ValueError for a backbone of other modalities than the image, and unless there is one bridge or None for each
    level, and one bridge at least.
    """

    modalities = ("image", "depth")

    def __init__(self, colour: Backbone, depth: Backbone, bridges: Sequence[nn.Module | None]) -> None:
        super().__init__()
        for part, name in ((colour, "colour"), (depth, "depth")):
            if part.modalities != ("image",):
                raise ValueError(f"the {name} backbone sees {' and '.join(part.modalities)}; expected the image alone")
        if len(bridges) != len(colour.strides):
            raise ValueError(
                f"got {len(bridges)} bridges for {len(colour.strides)} levels of colour; expected one for each, None "
                "where colour passes alone"
            )
        self.colour = colour
        self.depth = depth
        self.bridges = nn.ModuleDict({str(i): bridge for i, bridge in enumerate(bridges) if bridge is not None})
        if not self.bridges:
            raise ValueError("no level has a bridge; without one the depth backbone is of no use")
        self.channels = colour.channels
        self.strides = colour.strides
        self.pretrained = colour.pretrained
        _spare_single_values(self.depth)
        _spare_single_values(self.bridges)

    @property
    def stages(self) -> list[nn.Module]:
        """The colour backbone's stages, the depth backbone's, and the bridges as the last one."""
        return [*self.colour.stages, *self.depth.stages, nn.ModuleList(self.bridges.values())]

    @property
    def trunks(self) -> list[Backbone]:
        """The colour backbone's, then the depth backbone's: each takes its own weights."""
        return [*self.colour.trunks, *self.depth.trunks]

    def freeze(self, stages: int | Literal["all"]) -> None:
        """Let the first ``stages`` of each of the colour backbone's trunks stand still, see ``Backbone.freeze``.

        Depth and bridges go on learning: the colour network is the one that was trained before.
        """
        self.colour.freeze(stages)

    def forward(self, image: Tensor, depth: Tensor | None = None) -> list[Tensor]:
        """The levels [B, channels[i], ⌈H/strides[i]⌉, ⌈W/strides[i]⌉], finest first.

        Args:
            image: [B, C, H, W].
            depth: values and validity [B, E + 1, H, W]; None where every picture is without.

        Raises ValueError for a depth of another batch or size than the image.
        """
        return self._levels(image, depth)[0]

    def with_depth_levels(
        self, image: Tensor, depth: Tensor | None = None
    ) -> tuple[list[Tensor], list[Tensor], Tensor]:
        """What ``forward`` gives, the depth backbone's own pyramid, and which pictures have a depth, bool [B].

        The second is for a loss of its own while training: bridges begin at the identity, so that the main one doesn't
        reach the depth backbone at first. It is zero in absent pictures, and no gradient flows from there.
        """
        fused, own, present = self._levels(image, depth)
        if own is None:
            height, width = image.shape[-2:]
            own = [
                image.new_zeros(len(image), channels, ceil(height, stride), ceil(width, stride))
                for channels, stride in zip(self.depth.channels, self.depth.strides, strict=True)
            ]
        elif len(own[0]) < len(image):
            rows = present.nonzero().flatten()
            blank = [level.new_zeros(len(image), *level.shape[1:]) for level in own]
            own = [zeros.index_put((rows,), level) for zeros, level in zip(blank, own, strict=True)]
        return fused, own, present

    def _levels(self, image: Tensor, depth: Tensor | None) -> tuple[list[Tensor], list[Tensor] | None, Tensor]:
        """The fused pyramid, the depth backbone's of the present pictures alone (or of all), and which are present."""
        if depth is None:
            return self.colour(image), None, torch.zeros(len(image), dtype=torch.bool, device=image.device)
        _check(image, depth)
        levels: list[Tensor] = self.colour(image)
        valid = depth[:, -1:].detach()
        present = (valid > 0).flatten(1).any(dim=1)
        if torch.compiler.is_compiling() or image.is_meta:  # nothing may depend on values there
            own: list[Tensor] = self.depth(depth)
            told = self._told(levels, own, valid)
            here = present.view(-1, 1, 1, 1)
            fused = [torch.where(here, told[i], level) if i in told else level for i, level in enumerate(levels)]
            return fused, [torch.where(here, level, 0) for level in own], present

        rows = present.nonzero().flatten()
        if not len(rows):
            return levels, None, present
        if len(rows) == len(image):
            own = self.depth(depth)
            told = self._told(levels, own, valid)
            return [told.get(i, level) for i, level in enumerate(levels)], own, present
        own = self.depth(depth[rows])
        told = self._told([level[rows] for level in levels], own, valid[rows])
        # Not index_copy, which forgets channels_last.
        fused = [level.index_put((rows,), told[i]) if i in told else level for i, level in enumerate(levels)]
        return fused, own, present

    def _told(self, levels: list[Tensor], own: list[Tensor], valid: Tensor) -> dict[int, Tensor]:
        """Levels of colour that have a bridge, as it makes them, by their index."""
        told = {}
        for key, bridge in self.bridges.items():
            i = int(key)
            stride, partner = self.strides[i], nearest_level(self.strides[i], self.depth.strides)
            features = _resampled(own[partner], self.depth.strides[partner], stride, like=levels[i])
            share = _cell_means(valid, stride).to(features.dtype)
            told[i] = bridge(levels[i], features, share).to(levels[i].dtype)
        return told


def bridged_levels(
    colour: Sequence[int], depth: Sequence[int], *, levels: Sequence[int] | None = None, coarsest: int | None = None
) -> tuple[int, ...]:
    """Indices of the colour backbone's levels that get a bridge, finest first.

    Args:
        colour: strides of the colour backbone.
        depth: strides of the depth backbone.
        levels: the indices, where they are chosen; None takes those whose stride the depth backbone has too.
        coarsest: of these, at most so many, the coarsest ones; None takes all. What is chosen stays as it is.

    Raises ValueError unless the chosen ones are different indices in rising order, and where no stride is common.
    """
    if levels is not None:
        return select_levels(levels, len(colour))
    common = [i for i, stride in enumerate(colour) if stride in depth]
    if not common:
        raise ValueError(
            f"the colour backbone has strides {list(colour)} and the depth backbone {list(depth)}, none of them in "
            "common; name the levels to bridge"
        )
    return tuple(common if coarsest is None else common[-coarsest:])


def nearest_level(stride: int, strides: Sequence[int]) -> int:
    """Index of the stride nearest to ``stride`` by ratio; of two that are as near, the finer one's."""
    return min(range(len(strides)), key=lambda i: (max(stride, strides[i]) / min(stride, strides[i]), strides[i]))


def _check(image: Tensor, depth: Tensor) -> None:
    batch, _, height, width = image.shape
    if depth.ndim != 4 or depth.shape[1] < 2 or (depth.shape[0], *depth.shape[2:]) != (batch, height, width):
        raise ValueError(
            f"got depth {list(depth.shape)} for images {list(image.shape)}; expected [B, E + 1, H, W] of the same "
            "batch and size, validity last"
        )


def _resampled(x: Tensor, stride: int, wanted: int, *, like: Tensor) -> Tensor:
    """The level of one stride on the grid of another, [B, C, h, w] of ``like``."""
    if stride == wanted:
        return x
    if wanted % stride == 0:
        return _cell_means(x, wanted // stride)
    height, width = like.shape[-2:]
    if stride % wanted:  # grids of which neither divides the other: at borders they may part by less than a cell
        return F.interpolate(x, size=(height, width), mode="bilinear", align_corners=False)
    x = F.interpolate(x, scale_factor=stride // wanted, mode="bilinear", align_corners=False)
    return x.narrow(-2, 0, height).narrow(-1, 0, width)


def _cell_means(x: Tensor, side: int) -> Tensor:
    """Means over cells of side × side from the top left on, [B, C, h, w] → [B, C, ⌈h/side⌉, ⌈w/side⌉].

    A cell that reaches beyond the border has the mean of what is within.
    """
    if side == 1:
        return x
    height, width = x.shape[-2:]
    rows, columns = ceil(height, side), ceil(width, side)
    filled = F.pad(x, (0, columns * side - width, 0, rows * side - height))
    within = [
        (length - torch.arange(cells, device=x.device) * side).clamp(max=side).to(x.dtype) / side
        for length, cells in ((height, rows), (width, columns))
    ]
    return F.avg_pool2d(filled, side) / (within[0][:, None] * within[1])


def _spare_single_values(part: nn.Module) -> None:
    """Let every BatchNorm in there use its running statistics while it is given one value a channel.

    By hooks that stay, not by a mode for one call: recomputed stages run again in the backward pass.
    """
    for norm in part.modules():
        if isinstance(norm, nn.modules.batchnorm._BatchNorm):
            norm.register_forward_pre_hook(_before_norm)
            norm.register_forward_hook(_after_norm, always_call=True)


def _before_norm(norm: nn.Module, given: tuple[Any, ...]) -> None:
    if norm.training and given[0].numel() == given[0].shape[1]:
        norm.training = False
        setattr(norm, SPARED, True)


def _after_norm(norm: nn.Module, _given: tuple[Any, ...], _result: Any) -> None:
    if getattr(norm, SPARED, False):
        norm.training = True
        delattr(norm, SPARED)
