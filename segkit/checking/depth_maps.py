"""What a dataset's depth maps are like, in a few small facts, and what is wrong with them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from segkit.checking.findings import Finding, Place, finding
from segkit.checking.survey import Survey
from segkit.data.depth import read_depth
from segkit.data.depth_format import DepthFormat
from segkit.data.folder import depth_format

PLAUSIBLE = (0.05, 200.0)  # metres between which the middle of what cameras measure lies
APART = 20  # times as far as in most maps, or as near: a unit is off by 10 at least, and scenes seldom by as much


@dataclass(frozen=True)
class DepthFacts:
    """What a depth map is like.

    Attributes:
        file: where it is.
        size: (height, width) as stored.
        channels: without the validity.
        measured: share of the pixels.
        median: of what is measured, metres or as in the file; None where nothing is.
    """

    file: Path
    size: tuple[int, int]
    channels: int
    measured: float
    median: float | None


def depth_facts(seen: Survey, file: Path) -> DepthFacts:
    """Return the facts of a depth map; raise DataError where it can't be read or isn't what dataset.yaml says."""
    depth = read_depth(file, depth_format(seen.description) or DepthFormat(unit="relative"))
    measured = depth[..., -1] > 0
    values = depth[measured][:, :-1]
    median = float(np.median(values)) if values.size else None
    return DepthFacts(file, depth.shape[:2], depth.shape[2] - 1, float(measured.mean()), median)


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


def _channels(seen: Survey, maps: Sequence[DepthFacts]) -> list[Place]:
    """Maps with another number of channels than the first."""
    return [
        seen.place(one.file, f"{one.channels}, the first has {maps[0].channels}")
        for one in maps
        if one.channels != maps[0].channels
    ]
