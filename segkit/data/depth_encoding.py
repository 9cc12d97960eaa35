"""What a network is given of depth, or of another second modality: channels of ordinary size, and where they hold."""

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

Kind = Literal["metres", "inverse", "normals", "plain"]

NEAREST = 1e-3  # metres; less is no distance, and its inverse no number to learn from
NORMAL_IQR = 1.349  # standard deviations between the quartiles of a normal distribution
OUTERMOST = 10.0  # standard deviations: what is beyond is an outlier, and no farther than that


class DepthEncoding(nn.Module):
    """Depth [B, C + 1, H, W] → [B, E + 1, H, W] with the validity last; all else is 0 where it is 0.

    The kinds, of which all but ``plain`` take metres (C = 1):

    - ``metres``: the distance, standardised (E = 1).
    - ``inverse``: 1 / distance, standardised (E = 1): near things, measured best, get the most of the range.
    - ``normals``: what HHA (Gupta et al., ECCV 2014) tells of geometry, without its estimate of where up is (E = 5):
      the surface's normal as a unit vector towards the camera (x to the right, y down, z away from the camera; in
      place of HHA's one angle), the height over the camera's axis, and the distance, both by the distance's
      deviation. A normal takes a measured neighbour in its row and one in its column, otherwise it is 0; across an
      edge between near and far it is that of a wall along the line of sight.
    - ``plain``: every channel standardised (E = C).

    Of ``normals`` the middle of what comes in counts as the point that the camera looks at, in a whole picture, a
    crop and a tile alike: where a crop is from nobody tells the model. In a crop, normals are so turned by the angle
    between its middle and the picture's, and heights are over its middle. Zooming a picture leaves the focal length
    as it is, since metres are divided by the zoom.

    What is standardised is cut to ±10, so that no value drowns those around it; a mean of 0 and a deviation of 1, as
    they are where nobody says others, leave values as they are.

    A forward pass works in float32 and gives the type that came in.

    Attributes:
        in_channels: C.
        out_channels: E.

    Args:
        kind: as above.
        mean: of each of the C channels over the measured pixels, as ``depth_statistics`` gives it; of 1 / metres for
            ``inverse``, of metres for ``normals``. Not looked at with ``per_picture``.
        std: the same pixels' standard deviation.
        channels: C, 1 but for ``plain``.
        focal: (fx, fy) in pixels of the pictures as they are read, for ``normals``.
        per_picture: standardise each picture (or crop, or tile) by its own measured pixels instead: their median
            is 0 and their quartiles lie as a normal distribution's do. A flat picture is 0.

    Raises:
        ValueError: an unknown kind; a number of values other than C; a mean, std or focal length that is no finite
            number, or one of the last two not above 0; ``normals`` without focal lengths, another kind with them; from
            ``forward``: another number of channels than C + 1.
    """

    mean: Tensor
    std: Tensor
    focal: Tensor

    def __init__(
        self,
        kind: Kind,
        *,
        mean: Sequence[float] = (0.0,),
        std: Sequence[float] = (1.0,),
        channels: int = 1,
        focal: Sequence[float] | None = None,
        per_picture: bool = False,
    ) -> None:
        super().__init__()
        if kind not in ("metres", "inverse", "normals", "plain"):
            raise ValueError(f"no kind {kind!r}; there are metres, inverse, normals and plain")
        if channels != 1 and kind != "plain":
            raise ValueError(f"{kind} takes depth in one channel, not {channels}; say plain")
        if channels < 1 or (not per_picture and not len(mean) == len(std) == channels):
            raise ValueError(f"{channels} channels, but {len(mean)} means and {len(std)} deviations")
        if not all(map(math.isfinite, mean)) or not all(0 < value < math.inf for value in (*std, *(focal or ()))):
            numbers = f"{list(mean)}, {list(std)} and {focal}"
            raise ValueError(f"mean, std and focal are finite numbers, above 0 but for the mean, not {numbers}")
        if focal is not None and len(focal) != 2:
            raise ValueError(f"focal is {list(focal)}; expected [fx, fy]")
        if focal is not None and kind != "normals":
            raise ValueError(f"focal is for normals; leave it out of {kind}")
        if kind == "normals" and focal is None:
            raise ValueError("normals need the focal lengths: give 'intrinsics' in dataset.yaml, or take another kind")
        self.kind = kind
        self.per_picture = per_picture
        self.in_channels = channels
        self.out_channels = 5 if kind == "normals" else channels
        mean, std = ([0.0] * channels, [1.0] * channels) if per_picture else (mean, std)
        self.standardised = per_picture or any(mean) or any(value != 1 for value in std)
        self._numbers = {"mean": _rounded(mean), "std": _rounded(std), "focal": _rounded(focal or (1.0, 1.0))}
        for name, shape in (("mean", (-1, 1, 1)), ("std", (-1, 1, 1)), ("focal", (-1,))):
            self.register_buffer(name, torch.tensor(self._numbers[name]).view(shape))

    def forward(self, depth: Tensor) -> Tensor:
        """[B, C + 1, H, W] → [B, E + 1, H, W]."""
        if depth.shape[1] != self.in_channels + 1:
            raise ValueError(f"depth has {depth.shape[1]} channels; expected {self.in_channels} and the validity")
        measured = depth[:, -1:] > 0.5
        values = depth[:, :-1].float().where(measured, 1.0)  # 1: anything whose inverse is a number
        if self.kind == "inverse":
            values = 1 / values.clamp(min=NEAREST)
        mean, std = _own_scale(values, measured) if self.per_picture else (self.mean, self.std)
        found = (values - mean) / std
        if self.kind == "normals":
            found = torch.cat([self._height(values) / std, found], dim=1)
        if self.standardised:
            found = found.clamp(-OUTERMOST, OUTERMOST)
        if self.kind == "normals":
            found = torch.cat([normals(values, measured, self.focal), found], dim=1)
        return torch.cat([found.where(measured, 0.0), measured.float()], dim=1).to(depth.dtype)

    def _height(self, z: Tensor) -> Tensor:
        """Metres over the ray through the middle, [B, 1, H, W]."""
        return -_from_middle(z.shape[2], z).view(-1, 1) / self.focal[1] * z

    def options(self) -> dict[str, Any]:
        """Name and options by which an equal one is made, of as many channels."""
        focal = {"focal": self._numbers["focal"]} if self.kind == "normals" else {}
        numbers = {name: self._numbers[name] for name in ("mean", "std")}
        return {"name": self.kind, **numbers, **focal, "per_picture": self.per_picture}

    def extra_repr(self) -> str:
        """The kind, where the module is printed."""
        return f"{self.kind!r}, channels={self.in_channels}, per_picture={self.per_picture}"


def _rounded(values: Sequence[float]) -> list[float]:
    """As the buffers hold them, wherever those are: a model may be built without any memory for them."""
    return [float(np.float32(value)) for value in values]


def normals(z: Tensor, measured: Tensor, focal: Tensor) -> Tensor:
    """Unit normals [B, 3, H, W] towards the camera of the surface at distances ``z`` [B, 1, H, W].

    Zero where no neighbour along one of the axes is measured.

    Args:
        z: metres along the camera's axis.
        measured: bool [B, 1, H, W].
        focal: fx and fy in pixels.
    """
    # P(u, v) = (u·z / fx, v·z / fy, z); the normal is the cross product of its derivatives, here by a factor. Written
    # with w = 1 / z, which is linear in u and v on a plane, differences of neighbours are exact there.
    w = 1 / z.clamp(min=NEAREST)
    (along_u, some_u), (along_v, some_v) = _slope(w, measured, 3), _slope(w, measured, 2)
    u, v = _from_middle(z.shape[3], z), _from_middle(z.shape[2], z).view(-1, 1)
    found = torch.cat([-focal[0] * along_u, -focal[1] * along_v, u * along_u + v * along_v - w], dim=1)
    length = found.square().sum(dim=1, keepdim=True).clamp(min=1e-30).sqrt()
    return (found / length).where(some_u & some_v & measured, 0.0)


def _slope(w: Tensor, measured: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """Change of w per pixel from the measured neighbours on an axis, the mean of both sides; and where there is any."""
    side = w.shape[axis]
    step = w.narrow(axis, 1, side - 1) - w.narrow(axis, 0, side - 1)
    both = measured.narrow(axis, 1, side - 1) & measured.narrow(axis, 0, side - 1)
    step, sides = step.where(both, 0.0), both.float()
    edge = torch.zeros_like(w.narrow(axis, 0, 1))
    total = torch.cat([step, edge], dim=axis) + torch.cat([edge, step], dim=axis)
    count = torch.cat([sides, edge], dim=axis) + torch.cat([edge, sides], dim=axis)
    return total / count.clamp(min=1), count > 0


def _from_middle(side: int, like: Tensor) -> Tensor:
    """Pixels from the middle of a side: -1, 0, 1 of three."""
    return torch.arange(side, device=like.device, dtype=torch.float32) - (side - 1) / 2


def _own_scale(values: Tensor, measured: Tensor) -> tuple[Tensor, Tensor]:
    """Median and deviation by the quartiles of each picture's measured values, both [B, C, 1, 1].

    Where the quartiles are one value, as of a flat table with little on it, the deviation is that from the median.
    """
    # What isn't measured is sorted to the end, and the ranks are those of the rest.
    flat = values.where(measured, torch.finfo(torch.float32).max).flatten(2).detach().sort(dim=2).values
    last = measured.flatten(2).sum(dim=2, keepdim=True).expand(-1, values.shape[1], -1) - 1
    low, middle, high = (
        flat.gather(2, (last * share).long().clamp(min=0))[..., None].where(last[..., None] >= 0, 0.0)
        for share in (0.25, 0.5, 0.75)
    )
    deviation, least = (high - low) / NORMAL_IQR, 1e-6 * middle.abs()
    away = (values.detach() - middle).where(measured, 0.0).square().sum(dim=(2, 3), keepdim=True)
    count = measured.sum(dim=(2, 3), keepdim=True).clamp(min=1)
    deviation = deviation.where(deviation > least, (away / count).sqrt())
    return middle, deviation.where(deviation > least, 1.0)
