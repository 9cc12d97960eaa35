"""What a dataset's depth maps are like, in a few small facts, and what is wrong with them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from segkit.checking.findings import Finding, Place, finding
from segkit.checking.survey import Survey
from segkit.data.alignment import aligned
from segkit.data.depth import measured_depth, stored_values
from segkit.data.depth_format import DepthFormat
from segkit.data.folder import alignment_of, depth_format

PLAUSIBLE = (0.05, 200.0)  # metres between which the middle of what cameras measure lies
APART = 20  # times as far as in most maps, or as near: a unit is off by 10 at least, and scenes seldom by as much


SATURATED = 0.001  # of the pixels
COVERED = 0.2  # of the picture, for each share that is measured: two cameras side by side share most of what they see


@dataclass(frozen=True)
class DepthFacts:
    """What a depth map is like.

    Attributes:
        file: where it is.
        size: (height, width) as stored.
        channels: without the validity.
        measured: share of the pixels.
        median: of what is measured, metres or as in the file; None where nothing is.
        bits: of each stored value.
        top: share of the pixels at the largest value that the file's unsigned type holds, which isn't said to be
            invalid.
        covered: share of the picture that it covers, where another camera measured it; None where none did.
    """

    file: Path
    size: tuple[int, int]
    channels: int
    measured: float
    median: float | None
    bits: int
    top: float = 0.0
    covered: float | None = None


def depth_facts(seen: Survey, file: Path, size: tuple[int, int] | None) -> DepthFacts:
    """Return the facts of a depth map, whose picture has that size where it is known.

    Raises:
        DataError: it can't be read, or isn't what dataset.yaml says.
    """
    stored, meaning = stored_values(file), depth_format(seen.description) or DepthFormat(unit="relative")
    depth, alignment = measured_depth(stored, meaning, file), alignment_of(seen.description)
    measured = depth[..., -1] > 0
    values = depth[measured][:, :-1]
    top = 0.0
    if stored.dtype.kind == "u" and np.iinfo(stored.dtype).max not in meaning.invalid:
        top = float((stored == np.iinfo(stored.dtype).max).mean())
    return DepthFacts(
        file,
        size=depth.shape[:2],
        channels=depth.shape[2] - 1,
        measured=float(measured.mean()),
        median=float(np.median(values)) if values.size else None,
        bits=8 * stored.dtype.itemsize,
        top=top,
        covered=None
        if alignment is None or size is None or not meaning.metric
        else float(aligned(depth, alignment, size)[..., -1].mean()),
    )


def check_depth(seen: Survey, maps: Sequence[DepthFacts]) -> list[Finding]:
    """Return what is odd about the depth maps together; nothing where the dataset has none."""
    with_depth = [stem for stem, sample in seen.samples.items() if sample.depth is not None]
    if not with_depth:
        return []
    used = {stem for stems in seen.splits.values() for stem in stems} & set(seen.samples)
    without = [stem for stem in seen.samples if stem in used and seen.samples[stem].depth is None]
    unit = depth_format(seen.description)
    unsaid = [Place("dataset.yaml", f"depth/ has {len(with_depth):,} maps")] if unit is None else []
    return [
        *finding("no_depth_unit", unsaid),
        *finding("nothing_measured", [seen.place(one.file) for one in maps if one.median is None]),
        *finding("depth_scale", _implausible(unit, maps)),
        *finding("depth_unlike", _unlike(seen, unit, maps)),
        *finding("depth_coarse", _coarse(seen, unit, maps)),
        *finding("depth_saturated", _saturated(seen, unit, maps)),
        *finding("depth_beside", _beside(seen, maps)),
        *finding("depth_channels", _channels(seen, maps)),
        *finding("no_depth", [Place(stem) for stem in without]),
    ]


def _implausible(unit: DepthFormat | None, maps: Sequence[DepthFacts]) -> list[Place]:
    medians = [one.median for one in maps if one.median is not None]
    if unit is None or not unit.metric or not medians:
        return []
    middle = float(np.median(medians))
    if PLAUSIBLE[0] <= middle <= PLAUSIBLE[1]:
        return []
    return [Place("depth/", f"in {unit.unit} the middle is {middle:.3g} m")]


def _unlike(seen: Survey, unit: DepthFormat | None, maps: Sequence[DepthFacts]) -> list[Place]:
    """Maps in which everything is much nearer, or much farther, than in most."""
    medians = {one.file: one.median for one in maps if one.median is not None}
    if unit is None or not unit.metric or not medians:
        return []
    middle = float(np.median(list(medians.values())))
    return [
        seen.place(file, f"its middle is {median:.3g} m, that of most {middle:.3g} m")
        for file, median in medians.items()
        if not middle / APART <= median <= middle * APART
    ]


def _coarse(seen: Survey, unit: DepthFormat | None, maps: Sequence[DepthFacts]) -> list[Place]:
    """Maps of distances in bytes."""
    if unit is None or not unit.metric or unit.unit == "disparity":
        return []
    return [seen.place(one.file, f"8 bits, in {unit.unit}") for one in maps if one.bits == 8 and one.median is not None]


def _saturated(seen: Survey, unit: DepthFormat | None, maps: Sequence[DepthFacts]) -> list[Place]:
    """Maps of distances with many values at the end of their type."""
    if unit is None or not unit.metric:
        return []
    return [
        seen.place(one.file, f"{100 * one.top:.1f} % at {(1 << one.bits) - 1}")
        for one in maps
        if one.top > SATURATED and one.bits > 8
    ]


def _beside(seen: Survey, maps: Sequence[DepthFacts]) -> list[Place]:
    """Maps of another camera that hardly come to lie on their pictures."""
    return [
        seen.place(one.file, f"covers {100 * one.covered:.0f} % of its picture")
        for one in maps
        if one.covered is not None and one.covered < COVERED * one.measured
    ]


def _channels(seen: Survey, maps: Sequence[DepthFacts]) -> list[Place]:
    """Maps with another number of channels than the first."""
    return [
        seen.place(one.file, f"{one.channels}, the first has {maps[0].channels}")
        for one in maps
        if one.channels != maps[0].channels
    ]
