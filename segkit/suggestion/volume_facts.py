"""What a recipe for volumes depends on beside what their slices look like: spacings, units and planes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from segkit.data.folder import DatasetFolder, Sample
from segkit.data.masks import IGNORE
from segkit.data.reader import Reader, own_window
from segkit.data.slices import PLANES, Plane, Slices
from segkit.errors import DataError

VOLUMES = 60  # looked at, evenly spread
THICK = 1.7  # times as far from slice to slice as from pixel to pixel: slices of other planes would be strips
UNLIKE = 1.15  # times as wide a spacing in some volumes as in others: they are brought to one
LEAST, OUTSIDE = -4100, -500  # what CT says of the air around a patient lies between; no other modality goes so low


@dataclass(frozen=True)
class VolumeFacts:
    """What was measured on volumes.

    Attributes:
        cases: how many there are.
        channels: of each.
        spacing: median millimetres between voxels along the patient's axes: from right to left, front to back, bottom
            to top; None where no file says them.
        unlike: spacings within slices differ so much that no one zoom fits.
        window: (low, high) of Hounsfield units in which the foreground of all cases lies; None where the values, by
            their range, are of other units.
    """

    cases: int
    channels: int
    spacing: tuple[float, float, float] | None
    unlike: bool
    window: tuple[float, float] | None

    @property
    def planes(self) -> tuple[Plane, ...]:
        """The planes whose slices are as sharp as they can be: all three, or those normal to the widest spacing.

        Where no spacing is known, the axial one, which files of such volumes have their pages in.
        """
        if self.spacing is None:
            return ("axial",)
        steps = dict(zip(("sagittal", "coronal", "axial"), self.spacing, strict=True))
        thickest = max(PLANES, key=lambda plane: steps[plane])
        others = [step for plane, step in steps.items() if plane != thickest]
        return (thickest,) if steps[thickest] > THICK * max(others) else PLANES

    @property
    def slices(self) -> Slices:
        """How volumes are best looked at, without neighbours."""
        return Slices(planes=self.planes, spacing=self.pixel if self.unlike else None)

    @property
    def reader(self) -> Reader:
        """That shows these slices, each channel by itself."""
        return Reader(channels=self.channels, window=self.window or "picture", slices=self.slices)

    @property
    def pixel(self) -> float | None:
        """Millimetres that slices' pixels are brought to, where they are: the median of the finer spacings."""
        return None if self.spacing is None else float(f"{np.sort(self.spacing)[1]:.3g}")


def measure_volumes(folder: DatasetFolder, samples: Sequence[Sample]) -> VolumeFacts:
    """The facts of the volumes among samples, from at most 60 of them, evenly spread.

    Raises:
        DataError: one that can't be read, or of a number of channels that differs from the others'.
    """
    steps, windows, lowest = [], [], []
    channels: dict[int, Sample] = {}
    samples = [sample for sample in samples if sample.volume]
    for sample in samples[:: -(-len(samples) // VOLUMES)]:
        volume = folder.cases.volume(sample)
        turn = volume.geometry.turn("axial")  # slices, rows and columns: from bottom, front and right
        if volume.spaced:
            steps.append([volume.geometry.spacing[axis] for axis in turn.axes][::-1])
        channels.setdefault(volume.channels, sample)
        lowest.append(float(volume.values.min()))
        ids = folder.cases.mask(sample)
        inside = (ids == 1).any(axis=0) if ids.ndim == 4 else (ids != (folder.background or 0)) & (ids != IGNORE)
        if inside.any():
            windows.append(own_window(volume.values[inside]))
    if len(channels) > 1:
        (few, first), (many, second), *_ = sorted(channels.items())
        raise DataError(f"{second.image}: {many} channels, {first.image.name} has {few}; a model takes one number")
    hounsfield = min(lowest) >= LEAST and np.median(lowest) <= OUTSIDE
    of_each = np.array(steps or [[1.0] * 3])
    within = np.sort(of_each, axis=1)[:, :2]
    narrow, wide = np.percentile(within, (10, 90))
    low, high = np.median(np.array(windows or [(0.0, 1.0)]), axis=0)
    x, y, z = (float(step) for step in np.median(of_each, axis=0))
    return VolumeFacts(
        cases=len(samples),
        channels=next(iter(channels)),
        spacing=(x, y, z) if steps else None,
        unlike=bool(wide > UNLIKE * narrow),
        window=(float(low), float(high)) if hounsfield and windows else None,
    )
