"""What a recipe depends on, measured on a dataset: sizes, intensities, classes, objects, and which way is up."""

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from segkit.cores import cores
from segkit.data.folder import DatasetFolder, Sample
from segkit.data.masks import IGNORE, Ids
from segkit.data.reader import PERCENTILES, Pixels, Reader, Window, read_pixels
from segkit.data.slices import Plane
from segkit.errors import DataError
from segkit.suggestion.volume_facts import VOLUMES, VolumeFacts, measure_volumes

PICTURES = 200  # looked at, evenly spread; more don't change a choice
UNLIKE = 3.0  # times as wide a range of intensities in some pictures as in others: no one window fits
LEANING = 1.0  # a side is favoured where the mean difference of two halves is more than this many standard deviations
SURE = 2.5  # and more than this many standard errors: a few pictures lean to one side by chance
COMMON = 0.02  # of all pixels: what is rarer decides neither which way is up nor how fine the maps are
STRAY = 0.001  # of the pixels outside a region of interest: less than that is marked by slips of the pen
LEAN = 0.15  # of a class's pixels: a smaller mean difference is chance
FLAT = 0.4  # of the deviation inside a region of interest: less than that outside is nothing to see


@dataclass(frozen=True)
class Facts:
    """What was measured on the pictures to train on.

    Attributes:
        pictures: how many there are.
        median: (height, width) in pixels, each side by itself.
        grey: every picture has one channel, or three that are equal.
        channels: of the pictures where they are not grey; 3 where grey and colour are mixed.
        type: of the pixels, such as uint8; more than one joined by " and ".
        window: (low, high) intensities to become 0 and 1, where the type's own range doesn't tell; "picture" where
            pictures differ too much for any; else None.
        shares: of all counted pixels, for each class.
        background: id of the class that is background, if any.
        width: of the thinnest class's structures, in pixels, median over pictures; None without foreground. Classes
            below 2 % of the pixels count only where there is no other.
        upright: the classes lie differently in the upper and the lower half: pictures have a way up.
        sided: they lie differently left and right.
        blank_outside: nothing is to be seen or marked outside the regions of interest; None where there are none.
        volumes: what was measured on volumes, whose slices the other facts are of; None for pictures.
    """

    pictures: int
    median: tuple[int, int]
    grey: bool
    channels: int
    type: str
    window: Window | None
    shares: tuple[float, ...]
    background: int | None
    width: float | None
    upright: bool
    sided: bool
    blank_outside: bool | None
    volumes: VolumeFacts | None = None


@dataclass(frozen=True)
class _Look:
    """One picture's share in the facts."""

    size: tuple[int, int]
    channels: int
    grey: bool
    type: str
    window: tuple[float, float]
    counts: NDArray[np.int64]  # pixels of each class
    counted: int  # pixels that count, of several maps on average
    widths: tuple[float, ...]  # of each class; NaN where absent
    vertical: NDArray[np.float64]  # of each class, share of its pixels above the middle less that below
    horizontal: NDArray[np.float64]
    blank_outside: bool | None


def measure(folder: DatasetFolder, samples: Sequence[Sample]) -> Facts:
    """The facts of a dataset's pictures, or of its volumes' slices, from at most 200 of them, evenly spread.

    Raises:
        DataError: a picture or mask that can't be read, or of a number of channels that differs from the others'.
    """
    volumes = measure_volumes(folder, samples) if any(sample.volume for sample in samples) else None
    reader = Reader() if volumes is None else volumes.reader
    looked_at = samples if volumes is None else samples[:: -(-len(samples) // VOLUMES)]
    slices = folder.slices(looked_at, reader)
    chosen = slices[:: -(-len(slices) // PICTURES)]
    with ThreadPoolExecutor(min(8, cores())) as pool:
        looks = list(pool.map(lambda sample: _look(folder, sample, reader), chosen))

    height, width = np.median([look.size for look in looks], axis=0)
    counts = np.stack([look.counts for look in looks])
    grey = all(look.grey for look in looks)
    widths = np.array([look.widths for look in looks])[:, _counting_for_width(counts, folder.background)]
    medians = [float(np.median(column[~np.isnan(column)])) for column in widths.T if not np.isnan(column).all()]
    types = sorted({look.type for look in looks})
    return Facts(
        pictures=round(len(slices) * len(samples) / len(looked_at)),
        median=(int(height), int(width)),
        grey=grey,
        channels=_channels(looks, chosen),
        type=" and ".join(types),
        window=_window(looks, types) if volumes is None else volumes.window or "picture",
        shares=tuple((counts.sum(0) / max(1, sum(look.counted for look in looks))).tolist()),
        background=folder.background,
        width=min(medians, default=None),
        upright=_lean_in_a_plane(looks, [sample.plane for sample in chosen], lambda look: look.vertical),
        sided=_lean_in_a_plane(looks, [sample.plane for sample in chosen], lambda look: look.horizontal),
        blank_outside=None if folder.roi is None else all(look.blank_outside is not False for look in looks),
        volumes=volumes,
    )


def _look(folder: DatasetFolder, sample: Sample, reader: Reader) -> _Look:
    pixels: Pixels = folder.cases.picture(sample, reader) if sample.volume else read_pixels(sample.image)
    ids = folder.read_mask(sample, pixels.shape[:2])
    counts, widths, vertical, horizontal = zip(*_drawn(ids, len(folder.classes)), strict=True)
    low, high = np.percentile(pixels, PERCENTILES)
    return _Look(
        size=(pixels.shape[0], pixels.shape[1]),
        channels=pixels.shape[2],
        grey=_is_grey(pixels),
        type=str(pixels.dtype),
        window=(float(low), float(high)),
        counts=np.array(counts, np.int64),
        counted=int(np.count_nonzero(ids != IGNORE)) // (len(ids) if ids.ndim == 3 else 1),
        widths=widths,
        vertical=np.array(vertical),
        horizontal=np.array(horizontal),
        blank_outside=None if sample.roi is None else _blank_outside(folder, sample, pixels),
    )


def _blank_outside(folder: DatasetFolder, sample: Sample, pixels: Pixels) -> bool | None:
    """Whether nothing is marked or seen outside the region of interest; None where it covers the picture."""
    inside = folder.read_mask(sample, pixels.shape[:2]) != IGNORE
    inside = inside.any(0) if inside.ndim == 3 else inside
    if inside.all() or not inside.any():
        return None
    ids = folder.read_mask(sample, pixels.shape[:2], inside_roi=False)
    marked = ids == 1 if ids.ndim == 3 else ids != folder.background
    values = pixels.astype(np.float32)
    flat = values[~inside].std(0).mean() <= FLAT * values[inside].std(0).mean()
    return bool(flat and marked[..., ~inside].mean() <= STRAY)


def width_of(layer: NDArray[np.bool_]) -> float:
    """Typical width in pixels of what is set in [H, W]; NaN where nothing is, infinite where all is.

    Four times the mean distance to the border: a long strip's distances rise from 0 to half its width. A disc has two
    thirds of its diameter.
    """
    if not layer.any():
        return float("nan")
    if layer.all():
        return float("inf")
    padded = np.pad(layer.astype(np.uint8), 1, mode="edge")  # what leaves the picture has no border there
    distance = cv2.distanceTransform(padded, cv2.DIST_L2, 5)[1:-1, 1:-1] - 0.5  # to the edge, not the next centre
    return float(4 * distance[layer].mean())


def _drawn(ids: Ids, classes: int) -> Iterator[tuple[int, float, float, float]]:
    """Of each class its pixels, its width, and how it leans down and across; one map at a time, none of absent ones."""
    present = np.bincount(ids.ravel(), minlength=256) if ids.ndim == 2 else None
    for k in range(classes):
        layer = ids[k] == 1 if present is None else ids == k if present[k] else None
        if layer is None or not layer.any():
            yield 0, float("nan"), 0.0, 0.0
        else:
            yield int(np.count_nonzero(layer)), width_of(layer), _lean(layer), _lean(layer.T)


def _counting_for_width(counts: NDArray[np.int64], background: int | None) -> list[int]:
    """The foreground classes that are common, or all where none is: a rare one isn't worth a slower network."""
    foreground = [k for k in range(counts.shape[1]) if k != background]
    return [k for k in foreground if counts[:, k].sum() > COMMON * counts.sum()] or foreground


def _is_grey(pixels: Pixels) -> bool:
    return pixels.shape[2] == 1 or (pixels.shape[2] == 3 and bool((pixels == pixels[..., :1]).all()))


def _channels(looks: Sequence[_Look], samples: Sequence[Sample]) -> int:
    """The number of channels all have, 3 for grey mixed with colour."""
    found = {look.channels: sample for look, sample in zip(looks, samples, strict=True)}
    if len(found) == 1:
        return next(iter(found))
    if set(found) == {1, 3}:
        return 3
    (few, first), (many, second), *_ = sorted(found.items(), key=lambda pair: pair[0])
    raise DataError(f"{second.image}: {many} channels, {first.image.name} has {few}; a model takes one number")


def _window(looks: Sequence[_Look], types: Sequence[str]) -> Window | None:
    flat = all(look.window[0] == look.window[1] for look in looks)
    ranges = np.array([look.window for look in looks if flat or look.window[0] < look.window[1]])
    narrow, wide = np.percentile(ranges[:, 1] - ranges[:, 0], (10, 90))
    if wide > UNLIKE * narrow:
        return "picture"
    if types == ["uint8"]:
        return None
    low, high = (float(value) for value in np.median(ranges, 0))
    return (low, high) if low < high else (low, low + 1)


def _lean(layer: NDArray[np.bool_]) -> float:
    """Share of the set pixels in the first half of the rows less that in the second, -1..1; 0 where none is set."""
    rows = layer.sum(1)
    half = len(rows) // 2
    total = int(rows.sum())
    return float((rows[:half].sum() - rows[len(rows) - half :].sum()) / total) if total else 0.0


def _lean_in_a_plane(
    looks: Sequence[_Look], planes: Sequence[Plane | None], of: Callable[[_Look], NDArray[np.float64]]
) -> bool:
    """Whether a side is favoured by the pictures, or by a volume's slices of any one plane."""
    for plane in dict.fromkeys(planes):
        there = [look for look, its in zip(looks, planes, strict=True) if its == plane]
        if _leans(np.stack([of(look) for look in there]), np.stack([look.counts for look in there])):
            return True
    return False


def _leans(leans: NDArray[np.float64], counts: NDArray[np.int64]) -> bool:
    """Whether a common class lies on one side in most pictures."""
    common = counts.sum(0) > COMMON * counts.sum()
    for lean, count, counted in zip(leans.T, counts.T, common, strict=True):
        present = lean[count > 0]
        if not counted or len(present) < 2:
            continue
        spread = present.std() * max(LEANING, SURE / math.sqrt(len(present) - 1))
        if abs(present.mean()) > max(LEAN, spread):
            return True
    return False
