"""Whether masks lie on their pictures: how well their boundaries agree with the pictures' edges.

A mask's boundaries should run where its picture changes. The mean strength of the picture's edges under the boundaries
is taken as the mask lies, with the mask shifted, and with it mirrored and turned. One picture is a noisy witness (a
boundary may be drawn where nothing is seen), so what is said of a dataset is said by most of its pictures.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Grid = NDArray[np.float32]
Labels = NDArray[np.integer]

SIDE = 512  # longest side at which edges are compared
REACH = 16  # furthest shift, in pixels of that size
NEAR = 1  # a shift of one pixel is a matter of how boundaries were drawn
FEWEST_BOUNDARIES = 40  # pixels; fewer say nothing
LIKELY = 0.3  # deviations; an agreement by chance is nearly always lower

TURNINGS: dict[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "mirrored left to right": lambda m: m[..., ::-1],
    "mirrored top to bottom": lambda m: m[..., ::-1, :],
    "turned by 180°": lambda m: m[..., ::-1, ::-1],
    "transposed": lambda m: m.swapaxes(-1, -2),
    "turned by 90°": lambda m: np.rot90(m, 1, (-2, -1)),
    "turned by 270°": lambda m: np.rot90(m, -1, (-2, -1)),
    "mirrored and turned by 90°": lambda m: m[..., ::-1, ::-1].swapaxes(-1, -2),
}
"""What can be done to a mask [..., H, W] so that it fits; turns are anticlockwise."""


@dataclass(frozen=True)
class Agreement:
    """Mean strength of a picture's edges under a mask's boundaries, in standard deviations above the picture's mean.

    Attributes:
        as_is: as the mask lies, give or take a pixel; NaN where it is of the picture's size turned.
        turned: after each of ``TURNINGS`` that gives the picture's size.
        shift: (down, right) in the picture's pixels, and parts of them, by which moving the mask raises the agreement
            most.
        shifted: the agreement there.
        step: the picture's pixels in one pixel at which edges were compared.
    """

    as_is: float
    turned: Mapping[str, float]
    shift: tuple[float, float]
    shifted: float
    step: float

    @property
    def best_turning(self) -> str | None:
        """The turning that fits best, None where none gives the picture's size."""
        return max(self.turned, key=lambda name: self.turned[name]) if self.turned else None


def agreement(picture: Grid, labels: Labels, counts: NDArray[np.bool_] | None = None) -> Agreement | None:
    """Return how well a mask agrees with its picture; None where there is too little to go by.

    Args:
        picture: [H, W] grey.
        labels: [H, W] or [K, H, W], any whole numbers, of the picture's size or of that size turned.
        counts: of the labels' [H, W]; where it is false, boundaries are not looked at.
    """
    edges = _edges(picture)
    boundaries = _boundaries(labels, counts)
    step = max(picture.shape) / max(edges.shape)
    if step > 1:
        turned_size = boundaries.shape != picture.shape
        size = edges.shape if turned_size else edges.shape[::-1]  # OpenCV's is (width, height)
        boundaries = np.asarray(cv2.resize(boundaries, size, interpolation=cv2.INTER_AREA), dtype=np.float32)
    weight = float(boundaries.sum())
    if weight < FEWEST_BOUNDARIES or float(np.abs(edges).max()) == 0:
        return None
    turned = {}
    for name, turn in TURNINGS.items():
        candidate = turn(boundaries)
        if candidate.shape == edges.shape:
            turned[name] = float((edges * candidate).sum()) / weight
    if boundaries.shape != edges.shape:
        return Agreement(float("nan"), turned, (0, 0), float("nan"), step) if turned else None
    padded = cv2.copyMakeBorder(edges, REACH, REACH, REACH, REACH, cv2.BORDER_REFLECT)
    surface = cv2.matchTemplate(padded, boundaries, cv2.TM_CCORR) / weight  # [33, 33] shifts
    middle = surface[REACH - NEAR : REACH + NEAR + 1, REACH - NEAR : REACH + NEAR + 1]
    row, column = divmod(int(surface.argmax()), surface.shape[1])
    down, right = _summit(surface[:, column], row) - REACH, _summit(surface[row], column) - REACH
    return Agreement(float(middle.max()), turned, (down * step, right * step), float(surface.max()), step)


def _summit(line: NDArray[Any], highest: int) -> float:
    """Where the parabola through a line's highest point and its neighbours has its summit."""
    if not 0 < highest < len(line) - 1:
        return highest
    before, here, after = (float(value) for value in line[highest - 1 : highest + 2])
    bend = 2 * here - before - after
    return highest + (after - before) / (2 * bend) if bend > 0 else highest


def _edges(picture: Grid) -> Grid:
    """Edge strength [h, w] of mean 0 and deviation 1, at a side of at most ``SIDE``; 0 everywhere in a flat picture."""
    scale = SIDE / max(picture.shape)
    if scale < 1:
        height, width = (max(1, round(side * scale)) for side in picture.shape)
        picture = np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), dtype=np.float32)
    smooth = cv2.GaussianBlur(picture, (0, 0), 1.0)
    strength = cv2.magnitude(cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1))
    strength = np.sqrt(np.minimum(strength, np.quantile(strength[::2, ::2], 0.99)))  # one bright edge is not all
    deviation = float(strength.std())
    if deviation < 1e-6:
        return np.zeros_like(strength)
    return np.asarray((strength - strength.mean()) / deviation, dtype=np.float32)


def _boundaries(labels: Labels, counts: NDArray[np.bool_] | None) -> Grid:
    """1 on both sides of every boundary between labels, [H, W]."""
    kernel = np.ones((3, 3), np.uint8)
    found = np.zeros(labels.shape[-2:], dtype=bool)
    for layer in labels.reshape(-1, *labels.shape[-2:]):
        layer = np.ascontiguousarray(layer, dtype=np.uint16 if labels.dtype.itemsize > 1 else np.uint8)
        found |= cv2.dilate(layer, kernel) != cv2.erode(layer, kernel)
    if counts is not None:
        found &= cv2.erode(counts.astype(np.uint8), kernel) > 0
    return found.astype(np.float32)


@dataclass(frozen=True)
class Judgement:
    """What a dataset's agreements say of its masks.

    Attributes:
        turning: one of ``TURNINGS`` that makes the masks fit; None where they lie right.
        shift: (down, right) that makes the masks fit; None where they lie right.
        votes: how many masks say so, of how many.
        misfits: the masks that don't fit while the others do, each with the turning that makes it fit, if one does.
    """

    turning: str | None = None
    shift: tuple[int, int] | None = None
    votes: tuple[int, int] = (0, 0)
    misfits: Mapping[str, str | None] = field(default_factory=dict)


def shift_in_words(shift: tuple[int, int]) -> str:
    """Return (down, right) as words, such as 'moved by 6 up and 4 to the right'."""
    down, right = shift
    steps = [f"{abs(down)} {'down' if down > 0 else 'up'}"] if down else []
    steps += [f"{abs(right)} to the {'right' if right > 0 else 'left'}"] if right else []
    return f"moved by {' and '.join(steps)}"


def judge(agreements: Mapping[str, Agreement]) -> Judgement:
    """Return what the agreements of a dataset's pictures, by name, say together."""
    lying = {name: one for name, one in agreements.items() if not np.isnan(one.as_is)}
    if len(lying) < 3:
        return Judgement()
    ones = list(lying.values())
    turning, votes = _common_turning(ones)
    if turning is not None:
        return Judgement(turning=turning, votes=(votes, len(ones)))
    shift, votes = _common_shift(ones)
    if shift is not None:
        return Judgement(shift=shift, votes=(votes, len(ones)))
    return Judgement(misfits=_misfits(lying))


def _common_turning(ones: Sequence[Agreement]) -> tuple[str | None, int]:
    """The turning that raises the mean agreement by half and wins in four of five pictures, with its wins."""
    for name in TURNINGS:
        able = [one for one in ones if name in one.turned]
        wins = sum(one.turned[name] > one.as_is for one in able)
        if len(able) >= 3 and wins >= 0.8 * len(able):
            after, before = np.mean([one.turned[name] for one in able]), np.mean([one.as_is for one in able])
            if after > LIKELY and after > 1.5 * before:
                return name, wins
    return None, 0


def _common_shift(ones: Sequence[Agreement]) -> tuple[tuple[int, int] | None, int]:
    """The shift on which more than half of the pictures agree to within a pixel or so, with their number."""
    shifts = np.array([one.shift for one in ones])  # [N, 2]
    near = np.array([one.step for one in ones]) * (NEAR + 0.5)
    grid = np.median(near)
    places = np.unique(np.rint(shifts / grid), axis=0) * grid  # few, however many the pictures
    there = max((np.abs(shifts - place).max(axis=1) <= near for place in places), key=np.count_nonzero)
    middle = np.median(shifts[there], axis=0)
    there = np.abs(shifts - middle).max(axis=1) <= near
    votes = int(there.sum())
    down, right = middle
    if max(abs(down), abs(right)) <= np.median(near) or votes <= len(ones) / 2:
        return None, 0
    after = np.mean([one.shifted for one in ones])
    if after < LIKELY or after < 1.05 * np.mean([one.as_is for one in ones]):
        return None, 0
    return (round(down), round(right)), votes


def _misfits(lying: Mapping[str, Agreement]) -> dict[str, str | None]:
    """Masks that agree far less than is usual in the dataset, where what is usual is narrow enough to tell."""
    as_is = np.array([one.as_is for one in lying.values()])
    usual, low = np.median(as_is), np.quantile(as_is, 0.1)
    found: dict[str, str | None] = {}
    for name, one in lying.items():
        best = one.best_turning
        if best is not None and one.turned[best] > max(LIKELY, 0.6 * usual, 2 * one.as_is):
            found[name] = best
        elif len(lying) >= 10 and one.as_is < min(0.35 * usual, usual - 2.5 * (usual - low)):
            found[name] = None
    return found
