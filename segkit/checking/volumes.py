"""Where the volumes of a dataset are in space, whether their masks are there too, and which are unlike the others."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from segkit.checking.findings import Finding, Place, finding
from segkit.checking.survey import Survey
from segkit.data.cases import difference_from
from segkit.data.folder import Sample
from segkit.data.geometry import Geometry
from segkit.data.listing import is_dicom
from segkit.data.volume import Volume
from segkit.errors import DataError
from segkit.medical.reading import read_volume

UNLIKE = 2.0  # times the median spacing, or less than one over it, along any of the patient's axes


@dataclass(frozen=True, eq=False)
class VolumeFacts:
    """Where a volume is.

    Attributes:
        file: it, or its folder.
        geometry: its grid.
        located: whether it says where it is in the patient.
        spaced: whether it says how far apart its voxels are.
    """

    file: Path
    geometry: Geometry
    located: bool
    spaced: bool

    @property
    def steps(self) -> tuple[float, float, float]:
        """Millimetres between voxels along the patient's axes: right to left, front to back, bottom to top."""
        z, y, x = (self.geometry.spacing[axis] for axis in self.geometry.turn("axial").axes)
        return x, y, z

    @property
    def size(self) -> str:
        """As people write it."""
        return "×".join(map(str, self.geometry.shape)) + " voxels"


def volume_facts(volume: Volume) -> VolumeFacts:
    """The facts of a volume."""
    return VolumeFacts(volume.path, volume.geometry, volume.located, volume.spaced)


def off_grid(seen: Survey, sample: Sample, volume: Volume) -> list[Place]:
    """The files that belong to a volume and lie on another grid; those that can't be read are told elsewhere."""
    found = []
    for file in (sample.mask, sample.roi):
        files = [] if file is None else sorted(file.iterdir()) if file.is_dir() else [file]
        for one in files:
            if is_dicom(one) or one.name.startswith("."):  # segmentations say so on being read
                continue
            try:
                difference = difference_from(read_volume(one), volume.geometry, located=volume.located)
            except DataError:
                continue
            if difference is not None:
                found.append(seen.place(one, difference))
    return found


def check_volumes(seen: Survey, facts: Sequence[VolumeFacts]) -> list[Finding]:
    """What is odd about the volumes together; nothing where the dataset has none."""
    if not facts:
        return []
    spaced = [one for one in facts if one.spaced]
    middle = np.median([one.steps for one in spaced], axis=0) if spaced else np.ones(3)
    unlike = [
        seen.place(one.file, f"{_millimetres(one.steps)} mm, most have {_millimetres(tuple(middle))} mm")
        for one in spaced
        if (np.array(one.steps) > UNLIKE * middle).any() or (np.array(one.steps) < middle / UNLIKE).any()
    ]
    ways = Counter(one.geometry.orientation for one in facts if one.located)
    example = {one.geometry.orientation: one.file.name for one in reversed(facts) if one.located}
    several = [Place(way, f"{count}, for example {example[way]}") for way, count in ways.most_common()]
    return [
        *finding("unlike_spacing", unlike),
        *finding("unlocated", [seen.place(one.file) for one in facts if not one.located]),
        *finding("orientations", several if len(several) > 1 else []),
    ]


def _millimetres(steps: Sequence[float]) -> str:
    return " × ".join(f"{step:.3g}" for step in steps)
